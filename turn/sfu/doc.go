// Package sfu forwards the media of group calls: everybody sends once, and gets what the others send (a selective forwarding
// unit). It knows nothing of accounts, sockets or storage; it takes and gives session descriptions and calls back.
//
//	server, err := sfu.New(sfu.Options{Listen: ":3479"})
//	room, err := server.Room("huddle-7", sfu.RoomOptions{OnSpeakers: ..., OnGone: ...})
//	peer, err := room.Join(userID, sfu.PeerOptions{OnOffer: ..., OnAnswer: ...})
//	err = peer.Offer(sdp, map[string]sfu.Source{"0": sfu.Microphone, "1": sfu.Camera})
//
// # Rooms, peers, tracks
//
// A Room is a call. A Peer is one client in it, with one RTCPeerConnection. A Track is what a peer publishes: a microphone, a
// camera, a shared screen, the sound of the screen. A track of video may come in three layers (simulcast with the rids q, h and
// f, q the smallest). Each peer gets every track of all others, without asking: video in the layer that fits the element it
// is shown in (Peer.View) and the line of that peer, or not at all while it is not shown or the line is too bad.
//
// # Signals
//
// Both sides may offer at any time; the client is the polite one of "perfect negotiation", so that the usual twenty lines of
// a browser are all it needs.
//
//  1. The client calls addTransceiver(track, {direction: "sendonly"}), sets its offer, and sends it with a name for each mid:
//     Peer.Offer. The answer comes to OnAnswer. Unpublishing is the same with removeTrack or direction "inactive".
//  2. When others publish or leave, OnOffer gives an offer with an id, and with all tracks that the client gets: which m-line
//     (mid) is whose, and what it shows. The client answers with the id: Peer.Answer. Changes that come within 30 ms, or while an
//     answer is awaited, are one offer.
//  3. When both offer at once, Peer.Offer returns ErrGlare: the client, which meanwhile got the server's offer, rolls its own
//     back (setRemoteDescription does), answers, and its "negotiationneeded" fires again. Peer.Offer returns other errors for
//     offers that are refused; the client rolls back then, too.
//  4. Candidates of the client are not needed. The server is ICE lite: it has public addresses or a forwarded port, never sends
//     a check, and answers to where checks come from. Our own candidates are in every description.
//  5. After a change of networks the client calls restartIce() and offers. Until it is back nothing is sent to it, and its place
//     is kept. If its signalling was interrupted, Peer.Resend repeats what it may have missed.
//
// The m-lines of tracks that ended are used again, for other tracks and other people. A client goes by the mid in Tracks, never by
// the id of a MediaStreamTrack. Callbacks are called in order, never under a lock.
//
// # What is done to the packets
//
// Sequence numbers, timestamps and VP8 picture ids are rewritten for each subscriber, so that a change of layers, a pause or
// padding leaves no trace; layers change at key frames. What is lost on the way to us is asked for again every 40 ms; what a
// subscriber lost is sent again from one cache for all subscribers. Key frames are asked for at most twice a second of each
// layer, whoever wants one. Bandwidth is estimated for each subscriber from transport-wide feedback (Google congestion
// control), or taken from REMB where the client offers only that; it is of video alone, audio is sent in any case. When a better layer is wanted than
// the estimate allows, padding finds out whether the line bears it: for ten seconds at most, then less and less often. VP8,
// H264, VP9 and AV1 are forwarded; only VP8's picture ids are rewritten. Opus is asked to send redundancy and silence.
//
// A moderator's Mute stops packets here, whatever the client does. Levels of RFC 6464 tell who speaks. Tap reads a track for a
// recording.
//
// # What is bounded
//
// Limits holds what is admitted: peers in a room, tracks of a peer, bit/s of a track (what exceeds it is dropped; clients are
// told that of video), and for the server packets/s, bit/s and CPU: a Join or an Offer that would spoil the calls which are there
// is refused with ErrCapacity. Besides: 512 packets of each layer of video and 128 of audio are kept; 300 packets a second and
// subscription are sent again; 1 MiB waits for a slow TCP client, what is more is lost; a tap holds what it was given room for;
// 16 signals of a client may wait, and 32 callbacks to it; descriptions have at most 256 KiB and 256 m-lines.
//
// A transport that is silent for 5 s is interrupted, and after Options.GoneAfter more (20 s) its peer is removed and told as gone:
// a client that was killed is noticed within 25 s, one that closes its connection at once.
package sfu
