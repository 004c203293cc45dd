// Drives the stock Socket.IO client for a test: commands come as lines of JSON on stdin, what happens goes out as lines
// of JSON on stdout. It ends with its stdin.
//
//   {"id":1,"do":"connection","connection":"a","url":"http://…","options":{…}}   a connection of its own
//   {"id":2,"do":"space","space":"a/chat","connection":"a","namespace":"/chat","auth":{…}}
//   {"id":3,"do":"emit","space":"a/chat","event":"message:send","args":[{…}]}
//   {"id":4,"do":"ask", …as emit}     answered when the server acknowledges, with its arguments
//   {"id":5,"do":"disconnect" | "connect","space":"a/chat"}
//   {"id":6,"do":"cut","connection":"a"}     the transport is lost; the client comes back by itself
//   {"id":7,"do":"state","space":"a/chat"}
//
// Every command is answered by {"id":…,"args":[…]} or {"id":…,"error":"…"}. What a space hears is
// {"space":"a/chat","event":"message:new","args":[{…}]}; so are connect, disconnect and connect_error.
import { createInterface } from "node:readline";
import { createRequire } from "node:module";
import { join } from "node:path";

const require = createRequire(join(process.cwd(), "driver.mjs")); // the client is installed where we are started
const { Manager } = require("socket.io-client");
const connections = {};
const spaces = {};
const say = (line) => process.stdout.write(JSON.stringify(line) + "\n");

const commands = {
  connection({ connection, url, options }) {
    connections[connection] = new Manager(url, { transports: ["websocket"], upgrade: false, autoConnect: false, ...options });
  },
  space({ space, connection, namespace, auth }) {
    const socket = connections[connection].socket(namespace, { auth });
    spaces[space] = socket;
    const tell = (event, ...args) => say({ space, event, args });
    socket.on("connect", () => tell("connect", { sid: socket.id, recovered: socket.recovered }));
    socket.on("disconnect", (reason) => tell("disconnect", { reason }));
    socket.on("connect_error", (err) => tell("connect_error", { message: err.message, data: err.data ?? null, active: socket.active }));
    socket.onAny(tell);
    socket.connect();
  },
  emit({ space, event, args }) {
    spaces[space].emit(event, ...args);
  },
  ask({ id, space, event, args }) {
    spaces[space].emit(event, ...args, (...answer) => say({ id, args: answer }));
    return false;
  },
  disconnect({ space }) {
    spaces[space].disconnect();
  },
  connect({ space }) {
    spaces[space].connect();
  },
  cut({ connection }) {
    connections[connection].engine.close();
  },
  state({ space }) {
    const { connected, active, recovered, id } = spaces[space];
    return [{ connected, active, recovered, sid: id ?? "" }];
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  try {
    const args = commands[command.do](command);
    if (args !== false) say({ id: command.id, args: args ?? [] });
  } catch (err) {
    say({ id: command.id, error: String(err) });
  }
}
process.exit(0);
