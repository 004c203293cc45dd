package doctor_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/pion/stun/v3"
	pion "github.com/pion/turn/v4"
	"github.com/pion/webrtc/v4"

	"github.com/quckchat/quckchat/server/doctor"
	"github.com/quckchat/quckchat/server/servertest"
	"github.com/quckchat/quckchat/turn"
)

// start boots a server on this machine, with an administrator.
func start(t *testing.T, settings ...string) (*servertest.Server, *servertest.User) {
	t.Helper()
	s := servertest.Start(t, append(settings, "QUCKCHAT_TURN_LISTEN=127.0.0.1:0")...)
	admin := s.Register("ada")
	promote(t, admin)
	return s, admin
}

// begin begins a run.
func begin(t *testing.T, u *servertest.User) (run doctor.DoctorRun) {
	t.Helper()
	u.Do("POST", "/doctor/calls", map[string]any{}).OK(&run)
	return run
}

// login is the credential of a run.
func login(run doctor.DoctorRun) turn.ICEServer { return run.Transports[0].Server }

func TestALinkOpensTheDoctorOnce(t *testing.T) {
	s, ada := start(t, "QUCKCHAT_PUBLIC_URL=https://chat.quck.example")
	bob := s.Register("bob")
	bob.Do("POST", "/admin/doctor/link", nil).Fails(http.StatusForbidden, "INSUFFICIENT_PERMISSIONS")
	var link doctor.DoctorLink
	ada.Do("POST", "/admin/doctor/link", nil).OK(&link)
	if link.URL != "https://chat.quck.example"+link.Path || !strings.HasPrefix(link.Path, "/doctor/calls#") {
		t.Errorf("%+v", link)
	}
	_, secret, _ := strings.Cut(link.Path, "#")
	nobody := s.Nobody()
	nobody.Do("POST", "/doctor/calls", map[string]any{}).Fails(http.StatusUnauthorized, "UNAUTHORIZED")
	nobody.Do("POST", "/doctor/calls", map[string]any{"link": secret + "x"}).Fails(http.StatusForbidden, "DOCTOR_LINK_INVALID")
	var run doctor.DoctorRun
	nobody.Do("POST", "/doctor/calls", map[string]any{"link": secret}).OK(&run)
	nobody.Do("POST", "/doctor/calls", map[string]any{"link": secret}).Fails(http.StatusForbidden, "DOCTOR_LINK_INVALID")
	for _, transport := range run.Transports {
		if !strings.HasSuffix(transport.Server.Username, ":!echo") {
			t.Errorf("%s may reach more than the echo peer: %s", transport.Name, transport.Server.Username)
		}
	}
}

func TestWhatARunGivesReachesTheEchoPeerAlone(t *testing.T) {
	s, ada := start(t)
	run := begin(t, ada)
	echo := echoOf(t, run)
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	at := s.Inner.TURN().Addr().String()
	client, err := pion.NewClient(&pion.ClientConfig{STUNServerAddr: at, TURNServerAddr: at, Conn: conn, Username: login(run).Username, Password: login(run).Credential})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := client.Listen(); err != nil {
		t.Fatal(err)
	}
	relay, err := client.Allocate()
	if err != nil {
		t.Fatal(err)
	}
	defer relay.Close()
	for _, peer := range []string{"8.8.8.8:53", "192.168.1.1:80", "127.0.0.2:9"} {
		if err := client.CreatePermission(net.UDPAddrFromAddrPort(netip.MustParseAddrPort(peer))); err == nil {
			t.Errorf("%s is let through", peer)
		}
	}
	question := stun.MustBuild(stun.TransactionID, stun.BindingRequest)
	if _, err := relay.WriteTo(question.Raw, net.UDPAddrFromAddrPort(echo)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 1500)
	_ = relay.SetReadDeadline(time.Now().Add(servertest.Patience))
	n, from, err := relay.ReadFrom(buf)
	if err != nil || from.String() != echo.String() || !bytes.Equal(buf[8:20], question.Raw[8:20]) {
		t.Errorf("the echo peer answers %x from %v: %v", buf[:n], from, err)
	}
}

// echoOf is where the echo peer of a run is.
func echoOf(t *testing.T, run doctor.DoctorRun) netip.AddrPort {
	t.Helper()
	a, err := netip.ParseAddrPort(strings.TrimPrefix(run.Range.URLs[0], "stun:"))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// dial makes a connection of a program that stands for the browser, through a relay alone, with a data channel.
func dial(t *testing.T, u *servertest.User, run doctor.DoctorRun, server turn.ICEServer) (*webrtc.PeerConnection, *webrtc.DataChannel) {
	t.Helper()
	engine := webrtc.SettingEngine{}
	engine.SetIncludeLoopbackCandidate(true)
	pc, err := webrtc.NewAPI(webrtc.WithSettingEngine(engine)).NewPeerConnection(webrtc.Configuration{
		ICETransportPolicy: webrtc.ICETransportPolicyRelay, ICEServers: []webrtc.ICEServer{{URLs: server.URLs, Username: server.Username, Credential: server.Credential}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pc.Close() })
	ordered, again := false, uint16(0)
	channel, err := pc.CreateDataChannel("echo", &webrtc.DataChannelInit{Ordered: &ordered, MaxRetransmits: &again})
	if err != nil {
		t.Fatal(err)
	}
	offer, err := pc.CreateOffer(nil)
	if err != nil {
		t.Fatal(err)
	}
	gathered := webrtc.GatheringCompletePromise(pc)
	if err := pc.SetLocalDescription(offer); err != nil {
		t.Fatal(err)
	}
	<-gathered
	var answer doctor.DoctorAnswer
	u.Do("POST", "/doctor/calls/offer", map[string]any{"run": run.ID, "sdp": pc.LocalDescription().SDP}).OK(&answer)
	if n := strings.Count(answer.SDP, "a=candidate:"); n != 1 || !strings.Contains(answer.SDP, echoOf(t, run).Addr().String()) {
		t.Errorf("%d candidates in %s", n, answer.SDP)
	}
	if err := pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: answer.SDP}); err != nil {
		t.Fatal(err)
	}
	return pc, channel
}

func TestTheEchoPeerSendsBackWhatItIsSentAndGoesWithTheRun(t *testing.T) {
	_, ada := start(t)
	talk := func() {
		run := begin(t, ada)
		pc, channel := dial(t, ada, run, run.Transports[0].Server)
		back := make(chan string, 1)
		channel.OnOpen(func() { _ = channel.SendText("is there anybody?") })
		channel.OnMessage(func(m webrtc.DataChannelMessage) { back <- string(m.Data) })
		select {
		case text := <-back:
			if text != "is there anybody?" {
				t.Errorf("%q", text)
			}
		case <-time.After(servertest.Patience):
			t.Fatal("nothing comes back")
		}
		echo := echoOf(t, run)
		ada.Do("POST", "/doctor/calls/report", map[string]any{"run": run.ID, "host": 1, "reflexive": 1, "address": true, "range": true, "calls": map[string]any{}}).OK(nil)
		ada.Do("POST", "/doctor/calls/offer", map[string]any{"run": run.ID, "sdp": "x"}).Fails(http.StatusNotFound, "DOCTOR_RUN_NOT_FOUND")
		pc.Close()
		await(t, "the echo peer goes", func() bool {
			free, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(echo))
			if err == nil {
				free.Close()
			}
			return err == nil
		})
	}
	talk()
	before := runtime.NumGoroutine()
	for range 3 {
		talk()
	}
	await(t, "its goroutines go", func() bool { return runtime.NumGoroutine() <= before+3 })
}

// await asks again and again until ok says yes.
func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(servertest.Patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v; %d goroutines", what, servertest.Patience, runtime.NumGoroutine())
		}
	}
}

func TestRunsAreBounded(t *testing.T) {
	s, ada := start(t)
	first := begin(t, ada)
	second := begin(t, ada) // by the same person
	ada.Do("POST", "/doctor/calls/offer", map[string]any{"run": first.ID, "sdp": "x"}).Fails(http.StatusNotFound, "DOCTOR_RUN_NOT_FOUND")
	for range 8 {
		ada.Do("POST", "/doctor/calls/offer", map[string]any{"run": second.ID, "sdp": "v=0\r\n"}).Fails(http.StatusBadRequest, "DOCTOR_OFFER_INVALID")
	}
	ada.Do("POST", "/doctor/calls/offer", map[string]any{"run": second.ID, "sdp": "v=0\r\n"}).Fails(http.StatusConflict, "DOCTOR_BUSY")
	for i := range 7 {
		begin(t, s.Register(fmt.Sprintf("user%d", i)))
	}
	eve := s.Register("eve")
	eve.Do("POST", "/doctor/calls", map[string]any{}).Fails(http.StatusConflict, "DOCTOR_BUSY")
	var link doctor.DoctorLink
	ada.Do("POST", "/admin/doctor/link", nil).OK(&link)
	_, secret, _ := strings.Cut(link.Path, "#")
	s.Nobody().Do("POST", "/doctor/calls", map[string]any{"link": secret}).Fails(http.StatusConflict, "DOCTOR_BUSY")
	ada.Do("POST", "/doctor/calls/report", map[string]any{"run": second.ID, "host": 0, "reflexive": 0, "address": true, "range": true, "calls": map[string]any{}}).OK(nil)
	s.Nobody().Do("POST", "/doctor/calls", map[string]any{"link": secret}).OK(nil) // it is still good
	eve.Do("POST", "/doctor/calls", map[string]any{}).Fails(http.StatusConflict, "DOCTOR_BUSY")
}

func TestWithoutTURNThereIsNothingToLookAt(t *testing.T) {
	s := servertest.Start(t)
	s.Register("ada").Do("POST", "/doctor/calls", map[string]any{}).Fails(http.StatusConflict, "TURN_UNAVAILABLE")
}

// TestWhatABrowserMeasuresIsJudged has a program stand for the browser, where no wire can be made bad in a way of its own.
func TestWhatABrowserMeasuresIsJudged(t *testing.T) {
	settings := newAuthority(t).host("localhost", -time.Hour, 1000*time.Hour)
	admin, _ := serve(t, nil, nil, append(settings, "QUCKCHAT_TURN_LISTEN=127.0.0.1:0")...)
	report := func(measured map[string]any) (got doctor.Diagnosis, err error) {
		t.Helper()
		var link doctor.DoctorLink
		var run doctor.DoctorRun
		if err := admin.Do(t.Context(), "POST", "/admin/doctor/link", nil, &link); err != nil {
			t.Fatal(err)
		}
		_, secret, _ := strings.Cut(link.Path, "#")
		if err := admin.Do(t.Context(), "POST", "/doctor/calls", map[string]any{"link": secret}, &run); err != nil {
			t.Fatal(err)
		}
		measured["run"] = run.ID
		return got, admin.Do(t.Context(), "POST", "/doctor/calls/report", measured, &got)
	}
	good := func() map[string]any {
		return map[string]any{"relay": true, "connected": true, "sent": 100, "received": 99, "roundTrip": 20, "jitter": 2}
	}
	with := func(key string, value any) map[string]any {
		m := good()
		m[key] = value
		return m
	}
	none := map[string]any{"relay": false, "connected": false, "sent": 0, "received": 0, "roundTrip": 0, "jitter": 0}
	for code, c := range map[string]struct {
		leg      string
		measured map[string]any
		state    doctor.State
	}{
		"call_works":         {"udp", good(), doctor.OK},
		"call_slow":          {"udp", with("roundTrip", 700), doctor.Note},
		"call_lossy":         {"tcp", with("received", 80), doctor.Fault},
		"relay_carries_none": {"udp", with("connected", false), doctor.Fault},
		"udp_blocked":        {"udp", none, doctor.Fault},
		"tcp_blocked":        {"tcp", none, doctor.Fault},
		"tls_refused":        {"tls", none, doctor.Fault},
		"https_no_turn":      {"https", none, doctor.Fault},
	} {
		t.Run(code, func(t *testing.T) {
			calls := map[string]any{"udp": good(), "tcp": good(), "tls": good(), "https": good()}
			calls[c.leg] = c.measured
			got, err := report(map[string]any{"host": 1, "reflexive": 1, "address": true, "range": true, "calls": calls})
			if err != nil {
				t.Fatal(err)
			}
			if got.OK != (c.state != doctor.Fault) || codes(&got)["call-"+c.leg] != code {
				t.Errorf("%+v", got)
			}
		})
	}
	if _, err := report(map[string]any{"host": -1, "calls": "all"}); err == nil {
		t.Error("nonsense is judged")
	}
}

func TestHealthTellsAdministratorsWhatWasFoundLast(t *testing.T) {
	s, ada := start(t)
	bob := s.Register("bob")
	bob.Do("POST", "/admin/doctor/calls", nil).Fails(http.StatusForbidden, "INSUFFICIENT_PERMISSIONS")
	part := func(u *servertest.User) map[string]json.RawMessage {
		var health struct {
			Details map[string]map[string]json.RawMessage `json:"details"`
		}
		u.Do("GET", "/health", nil).OK(&health)
		return health.Details["calls"]
	}
	if got := part(ada); len(got) != 1 || string(got["status"]) != `"up"` {
		t.Errorf("before: %s", got)
	}
	var found doctor.Diagnosis
	ada.Do("POST", "/admin/doctor/calls", nil).OK(&found)
	var kept doctor.Diagnosis
	if err := json.Unmarshal(part(ada)["server"], &kept); err != nil || kept.At != found.At || len(kept.Checks) != len(found.Checks) {
		t.Errorf("kept: %+v %v", kept, err)
	}
	for _, u := range []*servertest.User{bob, s.Nobody()} {
		if got := part(u); len(got) != 1 {
			t.Errorf("others are told %s", got)
		}
	}
}
