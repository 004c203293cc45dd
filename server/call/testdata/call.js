// A small client for calls of two, for the tests in real browsers: the native socket, one peer connection, relays alone.
window.client = (token, transport) => {
  const told = [], waits = [], asks = new Map();
  let socket, next = 1, pc, stream, callId, peer, servers, pending = [];
  const out = { told, state: () => pc && pc.connectionState };

  const hear = (name, data) => {
    told.push({ name, data });
    for (const w of waits.splice(0)) w();
    if (name === 'webrtc:offer') answerOffer(data);
    if (name === 'webrtc:answer') pc.setRemoteDescription(data.answer).then(drain);
    if (name === 'webrtc:ice-candidate') { pending.push(data.candidate); drain(); }
    if (name === 'call:resume') { callId = data.callId; servers = data.iceServers; peer = data.participants.find(id => id !== out.me); offer(); }
    if (name === 'call:participant:reconnected') connect();
  };
  const drain = async () => {
    while (pc && pc.remoteDescription && pending.length) await pc.addIceCandidate(pending.shift());
  };
  out.heard = async (name) => { while (!told.some(e => e.name === name)) await new Promise(r => waits.push(r)); return told.find(e => e.name === name).data; };
  out.ask = (op, data) => new Promise((resolve, reject) => {
    asks.set(next, { resolve, reject });
    socket.send(JSON.stringify({ id: next++, op, data }));
  });
  out.open = () => new Promise((resolve, reject) => {
    socket = new WebSocket(location.origin.replace('http', 'ws') + '/api/v1/ws', 'quckchat.v1');
    socket.onopen = () => socket.send(JSON.stringify({ op: 'auth', data: { token } }));
    socket.onclose = e => reject(new Error('closed ' + e.code));
    socket.onmessage = m => {
      const f = JSON.parse(m.data);
      if (f.event === 'hello') { out.me = f.data.userId; resolve(f.data); }
      if (f.event) return hear(f.event, f.data);
      const a = asks.get(f.id);
      if (a) f.ok ? a.resolve(f.data) : a.reject(new Error(JSON.stringify(f.error)));
    };
  });
  // Of the servers only the relays of one transport: udp, tcp, or tls on the port of this page; "" is all of them.
  const fits = u => !transport || (transport === 'tls' ? u.startsWith('turns:') && u.includes(':' + (location.port || 443) + '?') : u.startsWith('turn:') && u.endsWith('=' + transport));
  const relays = () => servers.map(s => ({ ...s, urls: s.urls.filter(fits) })).filter(s => s.urls.length);
  const connect = async () => {
    if (pc) pc.close();
    pending = [];
    stream = stream || await navigator.mediaDevices.getUserMedia({ audio: true, video: { width: 320, height: 180 } });
    pc = new RTCPeerConnection({ iceServers: relays(), iceTransportPolicy: 'relay' });
    for (const t of stream.getTracks()) pc.addTrack(t, stream);
    pc.onicecandidate = e => e.candidate && out.ask('webrtc:ice-candidate', { callId, targetUserId: peer, candidate: e.candidate.toJSON() });
    return pc;
  };
  const offer = async () => {
    await connect();
    await pc.setLocalDescription();
    await out.ask('webrtc:offer', { callId, targetUserId: peer, offer: pc.localDescription.toJSON() });
  };
  const answerOffer = async (data) => {
    peer = data.from;
    if (!pc || pc.signalingState === 'closed' || pc.remoteDescription) await connect();
    const early = pending; pending = [];
    await pc.setRemoteDescription(data.offer);
    pending = early.concat(pending);
    drain();
    await pc.setLocalDescription();
    await out.ask('webrtc:answer', { callId, targetUserId: peer, answer: pc.localDescription.toJSON() });
  };
  out.call = async (conversationId, userId) => {
    peer = userId;
    const a = await out.ask('call:initiate', { conversationId, participants: [userId], callType: 'video' });
    callId = a.callId; servers = a.iceServers;
    await offer();
    return callId;
  };
  out.answer = async () => {
    const i = await out.heard('call:incoming');
    callId = i.callId; peer = i.from.id;
    const a = await out.ask('call:answer', { callId });
    servers = a.iceServers;
    return callId;
  };
  out.screen = async () => {
    const shown = await navigator.mediaDevices.getDisplayMedia({ video: true });
    const track = shown.getVideoTracks()[0];
    await pc.getSenders().find(s => s.track && s.track.kind === 'video').replaceTrack(track);
    return track.label;
  };
  out.end = () => out.ask('call:end', { callId });
  out.stats = async () => {
    const r = { state: pc ? pc.connectionState : 'none', frames: 0, audio: 0, width: 0 };
    if (!pc) return r;
    const all = await pc.getStats(), by = {};
    all.forEach(s => { by[s.id] = s; });
    all.forEach(s => {
      if (s.type === 'inbound-rtp' && s.kind === 'video') { r.frames = s.framesDecoded || 0; r.width = s.frameWidth || 0; r.lost = s.packetsLost; }
      if (s.type === 'inbound-rtp' && s.kind === 'audio') r.audio = s.packetsReceived || 0;
      if (s.type === 'transport' && s.selectedCandidatePairId) {
        const pair = by[s.selectedCandidatePairId], mine = by[pair.localCandidateId];
        r.kind = mine.candidateType; r.protocol = mine.relayProtocol; r.theirs = by[pair.remoteCandidateId].candidateType;
      }
    });
    return r;
  };
  // Waits until so many more pictures were decoded and sounds heard.
  out.moving = async (frames) => {
    let first = await out.stats(), s = first;
    for (let i = 0; i < 150; i++) {
      await new Promise(r => setTimeout(r, 200));
      s = await out.stats();
      if (s.frames < first.frames) first = { frames: 0, audio: 0 }; // another connection
      if (s.state === 'connected' && s.frames >= first.frames + frames && s.audio > first.audio) return { ...s, moved: true };
    }
    return { ...s, moved: false };
  };
  return out;
};
