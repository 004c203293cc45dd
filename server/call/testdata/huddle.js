// A small client for huddles, for the tests in real browsers: one peer connection to the SFU, perfect negotiation.
window.huddler = (token, roomId, relay) => {
  const asks = new Map(), tracks = new Map();
  let socket, next = 1, pc, states = [], chain = Promise.resolve();
  const out = { states };
  out.ask = (op, data) => new Promise((resolve, reject) => {
    asks.set(next, { resolve, reject });
    socket.send(JSON.stringify({ id: next++, op, data }));
  });
  const offered = async (o) => {
    await pc.setRemoteDescription({ type: 'offer', sdp: o.sdp }); // rolls an offer of our own back
    for (const t of o.tracks) tracks.set(t.mid, t);
    await pc.setLocalDescription();
    await out.ask('huddle:answer', { roomId, id: o.id, sdp: pc.localDescription.sdp }).catch(() => {});
  };
  const offer = async () => {
    if (pc.signalingState !== 'stable') return;
    await pc.setLocalDescription();
    const sources = {};
    for (const t of pc.getTransceivers()) if (t.mid && t.sender.track) sources[t.mid] = t.sender.track.kind === 'audio' ? 'microphone' : out.source || 'camera';
    try {
      await out.ask('huddle:offer', { roomId, sdp: pc.localDescription.sdp, sources });
    } catch (e) {
      if (!String(e).includes('SFU_GLARE')) throw e;
    }
  };
  const step = f => { chain = chain.then(f, f); };
  const hear = (name, data) => {
    if (name === 'huddle:offer') step(() => offered(data));
    if (name === 'huddle:answer') step(() => pc.signalingState === 'have-local-offer' && pc.setRemoteDescription({ type: 'answer', sdp: data.sdp }));
    if (name === 'huddle:state') states.push(data.state);
    if (name === 'huddle:speakers') out.speakers = data.userIds;
  };
  out.open = () => new Promise((resolve, reject) => {
    socket = new WebSocket(location.origin.replace('http', 'ws') + '/api/v1/ws', 'quckchat.v1');
    socket.onopen = () => socket.send(JSON.stringify({ op: 'auth', data: { token } }));
    socket.onclose = e => reject(new Error('closed ' + e.code));
    socket.onmessage = m => {
      const f = JSON.parse(m.data);
      if (f.event === 'hello') resolve(f.data);
      if (f.event) return hear(f.event, f.data);
      const a = asks.get(f.id);
      if (a) f.ok ? a.resolve(f.data) : a.reject(new Error(JSON.stringify(f.error)));
    };
  });
  out.join = async () => {
    await out.ask('huddle:join', { roomId });
    const c = await out.ask('huddle:connect', { roomId });
    pc = new RTCPeerConnection(relay ? { iceServers: c.iceServers, iceTransportPolicy: 'relay' } : { iceServers: c.iceServers });
    pc.onnegotiationneeded = () => step(offer);
    const stream = await navigator.mediaDevices.getUserMedia({ audio: true, video: { width: 640, height: 360 } });
    for (const t of stream.getTracks()) pc.addTransceiver(t, { direction: 'sendonly', streams: [stream] });
  };
  // How many pictures and sounds have come of each person.
  out.got = async () => {
    const people = {};
    if (!pc) return people;
    (await pc.getStats()).forEach(s => {
      const t = s.type === 'inbound-rtp' && tracks.get(s.mid);
      if (!t) return;
      const p = people[t.peer] = people[t.peer] || { frames: 0, sounds: 0, width: 0 };
      if (s.kind === 'video') { p.frames += s.framesDecoded || 0; p.width = s.frameWidth || 0; }
      if (s.kind === 'audio') p.sounds += s.packetsReceived || 0;
    });
    return people;
  };
  out.gets = async (count, frames) => {
    let got = {};
    for (let i = 0; i < 200; i++) {
      got = await out.got();
      const all = Object.values(got);
      if (all.length === count && all.every(p => p.frames >= frames && p.sounds > 20)) break;
      await new Promise(r => setTimeout(r, 200));
    }
    return got;
  };
  return out;
};
