import { call, show, submit, takeHash, translate } from './page.js';
import { gather, measure } from './measure.js';

const text = translate({
  title: ['Call doctor', 'Examen de llamadas'],
  askHeading: ['Why do calls not connect?', '¿Por qué no conectan las llamadas?'],
  askLead: ['Sign in, and this browser makes test calls to the server from where you are.',
    'Inicie sesión y este navegador hará llamadas de prueba al servidor desde donde usted está.'],
  username: ['Username', 'Nombre de usuario'],
  password: ['Password', 'Contraseña'],
  begin: ['Sign in and begin', 'Iniciar sesión y empezar'],
  lookHeading: ['Calls from this browser', 'Llamadas desde este navegador'],
  working: ['Making test calls. This takes about ten seconds.', 'Haciendo llamadas de prueba. Tarda unos diez segundos.'],
  good: ['All is well: calls connect from here.', 'Todo bien: las llamadas conectan desde aquí.'],
  bad: ['Something keeps calls from connecting. What to change first:', 'Algo impide que las llamadas conecten. Qué cambiar primero:'],
  serverHeading: ['The same, looked at from the server', 'Lo mismo, visto desde el servidor'],
  copy: ['Copy as JSON', 'Copiar como JSON'],
  copied: ['Copied', 'Copiado'],
  again: ['Look again', 'Examinar de nuevo'],
  noWebRTC: ['This browser cannot make calls (WebRTC is off).', 'Este navegador no puede hacer llamadas (WebRTC está desactivado).'],
  ok: ['good', 'bien'],
  note: ['note', 'nota'],
  unknown: ['unknown', 'se desconoce'],
  fault: ['fault', 'fallo'],
});
const part = (id) => document.getElementById(id);
const link = takeHash();
let token = ''; // kept in this page only

// look measures from here, and has the server judge it.
async function look() {
  part('ask').hidden = true;
  part('look').hidden = false;
  for (const id of ['again', 'copy', 'json', 'failed', 'advice', 'server']) part(id).hidden = true;
  part('browser').replaceChildren();
  part('status').hidden = false;
  part('status').textContent = text('working');
  part('look').querySelector('h1').focus();
  try {
    if (!window.RTCPeerConnection) throw { message: text('noWebRTC'), fields: [] };
    const run = await call('POST', '/doctor/calls', token ? {} : { link }, token);
    const result = { browser: await judge(run) };
    list(result.browser, part('browser'), part('advice'));
    part('status').textContent = text(result.browser.ok ? 'good' : 'bad');
    if (token) await fromServer(result);
    part('json').textContent = JSON.stringify(result, null, 2);
    part('copy').textContent = text('copy');
    part('copy').hidden = false;
    document.body.dataset.done = result.browser.code || 'ok';
  } catch (error) {
    part('status').hidden = true;
    show(part('failed'), part('form'), { message: error.message || String(error), fields: [] });
    document.body.dataset.done = 'failed';
  }
  part('again').hidden = !token; // a link works once
}

async function judge(run) {
  const measured = { host: 0, reflexive: 0, address: false, range: false, calls: {} };
  const jobs = run.transports.map(async ({ name, server }) => {
    measured.calls[name] = await measure(server, (sdp) => call('POST', '/doctor/calls/offer', { run: run.id, sdp }, token));
  });
  jobs.push(gather([run.address], 'all').then((found) => {
    measured.address = found.srflx + found.relay > 0;
    measured.host = found.host;
  }));
  jobs.push(gather([run.range], 'all').then((found) => {
    measured.range = found.srflx > 0;
    measured.reflexive = found.srflx;
  }));
  await Promise.all(jobs);
  return call('POST', '/doctor/calls/report', { run: run.id, ...measured }, token);
}

// fromServer adds what the server finds, for administrators.
async function fromServer(result) {
  try {
    result.server = await call('POST', '/admin/doctor/calls', {}, token);
  } catch {
    return; // others see their own side
  }
  list(result.server, part('serverChecks'), part('serverAdvice'));
  part('server').hidden = false;
}

// list shows each finding, and what to change first.
function list(diagnosis, into, advice) {
  into.replaceChildren(...diagnosis.checks.map((check) => {
    const item = document.createElement('li');
    const state = item.appendChild(document.createElement('strong'));
    item.className = check.state;
    state.textContent = text(check.state);
    item.append(' ', check.sentence, ' ');
    item.appendChild(document.createElement('code')).textContent = check.code;
    return item;
  }));
  advice.textContent = diagnosis.advice || '';
  advice.hidden = !diagnosis.advice;
}

submit(part('form'), part('error'), async (fields) => {
  token = (await call('POST', '/auth/login', fields)).accessToken;
  await look();
});
part('again').addEventListener('click', look);
part('copy').addEventListener('click', async () => {
  if (navigator.clipboard) {
    await navigator.clipboard.writeText(part('json').textContent);
  } else { // over plain HTTP there is only the old way, of what is selected
    part('json').hidden = false;
    getSelection().selectAllChildren(part('json'));
    if (!document.execCommand('copy')) return;
  }
  part('copy').textContent = text('copied');
});
if (link) look();
else part('ask').hidden = false;
