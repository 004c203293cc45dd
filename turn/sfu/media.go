package sfu

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"strings"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/ice/v4"
	"github.com/pion/interceptor"
	"github.com/pion/interceptor/pkg/cc"
	"github.com/pion/interceptor/pkg/nack"
	"github.com/pion/interceptor/pkg/report"
	"github.com/pion/interceptor/pkg/twcc"
	"github.com/pion/sdp/v3"
	"github.com/pion/webrtc/v4"
)

// The codecs that are forwarded. VP8 is the one that all browsers both send and decode, and the one whose layers are switched
// without a trace.
const (
	mimeOpus = webrtc.MimeTypeOpus
	mimeVP8  = webrtc.MimeTypeVP8
	mimeH264 = webrtc.MimeTypeH264
	mimeVP9  = webrtc.MimeTypeVP9
	mimeAV1  = webrtc.MimeTypeAV1
)

const absSendTimeURI = sdp.ABSSendTimeURI

// How a transport is watched.
const (
	interruptedAfter = 5 * time.Second // without a word of the client
	dtlsRetransmit   = 250 * time.Millisecond
	replayWindow     = 1024 // packets: what is asked for again comes late
	receiveMTU       = 1500
)

var (
	// Audio is not numbered across streams: it would fill the estimator's history, which holds 250 packets, and it is not what
	// gives way when a line is bad.
	audioFeedback = []webrtc.RTCPFeedback{{Type: "nack"}}
	videoFeedback = []webrtc.RTCPFeedback{{Type: "transport-cc"}, {Type: "goog-remb"}, {Type: "ccm", Parameter: "fir"},
		{Type: "nack"}, {Type: "nack", Parameter: "pli"}}
	videoCodecs = []webrtc.RTPCodecParameters{
		videoCodec(96, mimeVP8, ""),
		videoCodec(102, mimeH264, "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f"),
		videoCodec(104, mimeH264, "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42001f"),
		videoCodec(98, mimeVP9, "profile-id=0"),
		videoCodec(45, mimeAV1, ""),
	}
	opusCodec = webrtc.RTPCodecParameters{PayloadType: 111, RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: mimeOpus,
		ClockRate: 48000, Channels: 2, SDPFmtpLine: "minptime=10;useinbandfec=1;usedtx=1", RTCPFeedback: audioFeedback}}
)

var headerExtensions = []struct {
	uri  string
	kind webrtc.RTPCodecType
}{
	{sdp.SDESMidURI, webrtc.RTPCodecTypeAudio}, {sdp.AudioLevelURI, webrtc.RTPCodecTypeAudio},
	{sdp.SDESMidURI, webrtc.RTPCodecTypeVideo}, {sdp.SDESRTPStreamIDURI, webrtc.RTPCodecTypeVideo}, {sdp.SDESRepairRTPStreamIDURI, webrtc.RTPCodecTypeVideo},
	{sdp.TransportCCURI, webrtc.RTPCodecTypeVideo}, {absSendTimeURI, webrtc.RTPCodecTypeVideo},
}

func videoCodec(pt webrtc.PayloadType, mime, fmtp string) webrtc.RTPCodecParameters {
	return webrtc.RTPCodecParameters{PayloadType: pt,
		RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: mime, ClockRate: 90000, SDPFmtpLine: fmtp, RTCPFeedback: videoFeedback}}
}

// sameCodec tells whether what was published as one codec can be decoded as another.
func sameCodec(a, b webrtc.RTPCodecCapability) bool {
	if !strings.EqualFold(a.MimeType, b.MimeType) || a.ClockRate != b.ClockRate {
		return false
	}
	for _, key := range []string{"packetization-mode", "profile-id"} {
		if parameter(a.SDPFmtpLine, key) != parameter(b.SDPFmtpLine, key) {
			return false
		}
	}
	if a, b := parameter(a.SDPFmtpLine, "profile-level-id"), parameter(b.SDPFmtpLine, "profile-level-id"); len(a) == 6 && len(b) == 6 {
		return strings.EqualFold(a[:2], b[:2]) // the profile; levels are not equal in practice, and not needed to be
	}
	return true
}

// parameter reads one value of an fmtp line; for what is not there it gives the default "0".
func parameter(line, key string) string {
	for part := range strings.SplitSeq(line, ";") {
		if name, value, ok := strings.Cut(strings.TrimSpace(part), "="); ok && strings.EqualFold(name, key) {
			return value
		}
	}
	return "0"
}

// codecs makes what a peer connection may negotiate; each needs its own, negotiation writes into it.
func codecs() (*webrtc.MediaEngine, error) {
	m := &webrtc.MediaEngine{}
	if err := m.RegisterCodec(opusCodec, webrtc.RTPCodecTypeAudio); err != nil {
		return nil, err
	}
	for _, c := range videoCodecs {
		if err := m.RegisterCodec(c, webrtc.RTPCodecTypeVideo); err != nil {
			return nil, err
		}
	}
	for _, e := range headerExtensions { // in this order: it numbers them
		if err := m.RegisterHeaderExtension(webrtc.RTPHeaderExtensionCapability{URI: e.uri}, e.kind); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// interceptors makes what stands between the wire and us: requests for lost packets, reports and transport-wide feedback
// towards who publishes, and the estimate of what the line of a subscriber can bear.
func interceptors(estimate *estimate) (*interceptor.Registry, error) {
	estimator, err := cc.NewInterceptor(func() (cc.BandwidthEstimator, error) { return estimate, nil })
	if err != nil {
		return nil, err
	}
	numbers, err := twcc.NewHeaderExtensionInterceptor()
	if err != nil {
		return nil, err
	}
	feedback, err := twcc.NewSenderInterceptor(twcc.SendInterval(100 * time.Millisecond))
	if err != nil {
		return nil, err
	}
	lost, err := nack.NewGeneratorInterceptor(nack.GeneratorInterval(40*time.Millisecond), nack.GeneratorMaxNacksPerPacket(10))
	if err != nil {
		return nil, err
	}
	reports, err := report.NewReceiverInterceptor()
	if err != nil {
		return nil, err
	}
	r := &interceptor.Registry{}
	for _, f := range []interceptor.Factory{numbered{estimator}, numbers, feedback, lost, reports} {
		r.Add(f)
	}
	return r, nil
}

// numbered keeps the estimator away from streams without transport-wide numbers: it would refuse their packets.
type numbered struct{ interceptor.Factory }

// NewInterceptor implements interceptor.Factory.
func (n numbered) NewInterceptor(id string) (interceptor.Interceptor, error) {
	i, err := n.Factory.NewInterceptor(id)
	return numberedStreams{i}, err
}

type numberedStreams struct{ interceptor.Interceptor }

// BindLocalStream implements interceptor.Interceptor.
func (n numberedStreams) BindLocalStream(info *interceptor.StreamInfo, w interceptor.RTPWriter) interceptor.RTPWriter {
	for _, e := range info.RTPHeaderExtensions {
		if e.URI == sdp.TransportCCURI {
			return n.Interceptor.BindLocalStream(info, w)
		}
	}
	return w
}

// certificate is what all peers of a server see.
func certificate() (*webrtc.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a key for DTLS: %w", err)
	}
	return webrtc.GenerateCertificate(key)
}

// transport sets what all peer connections have in common, but for the sockets.
func transport(s *webrtc.SettingEngine, goneAfter time.Duration) error {
	s.SetLite(true)
	s.SetICETimeouts(interruptedAfter, goneAfter+time.Minute, 2*time.Second)
	s.SetIncludeLoopbackCandidate(true)
	s.DisableActiveTCP(true)
	s.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	s.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4, webrtc.NetworkTypeUDP6, webrtc.NetworkTypeTCP4, webrtc.NetworkTypeTCP6})
	s.SetReceiveMTU(receiveMTU)
	s.SetSRTPReplayProtectionWindow(replayWindow)
	s.SetSRTCPReplayProtectionWindow(replayWindow)
	s.SetDTLSRetransmissionInterval(dtlsRetransmit)
	s.SetSRTPProtectionProfiles(dtls.SRTP_AEAD_AES_128_GCM, dtls.SRTP_AES128_CM_HMAC_SHA1_80)
	return s.SetAnsweringDTLSRole(webrtc.DTLSRoleServer)
}
