// Calls to the echo peer of the server, and what a browser gathers for them.
const gatherTime = 9000; // milliseconds, as all here; a name that is slow to be looked up takes five seconds
const connectTime = 8000;
const messages = 150;
const pace = 20; // between two messages, as of speech
const last = 700; // for those on their way

const sleep = (time) => new Promise((resolve) => setTimeout(resolve, time));

// candidates waits until a connection has gathered, or for gatherTime, and counts candidates by type. enough ends it early.
function candidates(pc, enough) {
  const found = { host: 0, srflx: 0, relay: 0 };
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve(found), gatherTime);
    pc.onicecandidate = (event) => {
      const type = event.candidate && event.candidate.candidate ? event.candidate.type : '';
      if (type in found) found[type]++;
      if (event.candidate && !enough(found)) return;
      clearTimeout(timer);
      resolve(found);
    };
  });
}

// gather counts the candidates that a browser finds with these servers.
export async function gather(iceServers, iceTransportPolicy) {
  const pc = new RTCPeerConnection({ iceServers, iceTransportPolicy });
  try {
    pc.createDataChannel('echo');
    const found = candidates(pc, () => false);
    await pc.setLocalDescription(await pc.createOffer());
    return await found;
  } finally {
    pc.close();
  }
}

// measure calls the echo peer through a relay of this server alone. offer sends an offer and returns the answer.
export async function measure(server, offer) {
  const result = { relay: false, connected: false, sent: 0, received: 0, roundTrip: 0, jitter: 0 };
  const pc = new RTCPeerConnection({ iceServers: [server], iceTransportPolicy: 'relay' });
  try {
    const channel = pc.createDataChannel('echo', { ordered: false, maxRetransmits: 0 });
    const found = candidates(pc, (count) => count.relay > 0);
    await pc.setLocalDescription(await pc.createOffer());
    result.relay = (await found).relay > 0;
    if (!result.relay) return result;
    const answer = await offer(pc.localDescription.sdp);
    const open = new Promise((resolve) => {
      channel.onopen = () => resolve(true);
      setTimeout(() => resolve(false), connectTime);
    });
    await pc.setRemoteDescription({ type: 'answer', sdp: answer.sdp });
    result.connected = await open;
    if (result.connected) await exchange(channel, result);
    return result;
  } finally {
    pc.close();
  }
}

// exchange sends messages of the size of speech, and notes which come back, and when.
async function exchange(channel, result) {
  const sentAt = new Map();
  const trips = [];
  let before = 0;
  channel.onmessage = (event) => {
    const number = parseInt(event.data, 10);
    const at = sentAt.get(number);
    if (at === undefined) return;
    sentAt.delete(number);
    const trip = performance.now() - at;
    if (trips.length > 0) result.jitter += (Math.abs(trip - before) - result.jitter) / 16;
    before = trip;
    trips.push(trip);
  };
  for (let number = 0; number < messages && channel.readyState === 'open'; number++) {
    sentAt.set(number, performance.now());
    channel.send(String(number).padEnd(160, ' .'));
    result.sent++;
    await sleep(pace);
  }
  await sleep(last);
  result.received = trips.length;
  trips.sort((a, b) => a - b);
  result.roundTrip = trips.length > 0 ? trips[Math.floor(trips.length / 2)] : 0;
}
