package call_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/quckchat/quckchat/server/servertest"
)

// phone is a device of somebody: a native socket of a session.
type phone struct {
	*servertest.Socket
	user *servertest.User
	t    *testing.T
}

func ring(t *testing.T, u *servertest.User) *phone {
	t.Helper()
	return &phone{u.Socket(), u, t}
}

// other is another device of the same person.
func other(t *testing.T, u *servertest.User) *phone {
	t.Helper()
	return ring(t, u.Again())
}

// ok asks and returns what is answered.
func (p *phone) ok(op string, data map[string]any) map[string]any {
	p.t.Helper()
	f := p.Ask(op, data)
	if !f.OK {
		p.t.Fatalf("%s of %s: %s", op, p.user.Name, f.Raw)
	}
	var v map[string]any
	if err := json.Unmarshal(f.Data, &v); err != nil {
		p.t.Fatal(err)
	}
	return v
}

// fails asks for what is refused.
func (p *phone) fails(code, op string, data map[string]any) {
	p.t.Helper()
	if f := p.Ask(op, data); f.OK || f.Error.Code != code {
		p.t.Fatalf("%s of %s: %s, want %s", op, p.user.Name, f.Raw, code)
	}
}

// hears waits for an event, and checks what is said in it.
func (p *phone) hears(event string, want map[string]any) map[string]any {
	p.t.Helper()
	f := p.Next()
	for f.Seq > 0 && event != f.Event { // what is said about calls afterwards
		f = p.Next()
	}
	if f.Event != event {
		p.t.Fatalf("%s hears %s, want %s", p.user.Name, f.Raw, event)
	}
	var v map[string]any
	if err := json.Unmarshal(f.Data, &v); err != nil {
		p.t.Fatal(err)
	}
	for name, value := range want {
		if got := fmt.Sprint(v[name]); got != fmt.Sprint(value) {
			p.t.Fatalf("%s tells %s %s=%s, want %v: %s", event, p.user.Name, name, got, value, f.Raw)
		}
	}
	return v
}

// quiet checks that nothing is on its way.
func (p *phone) quiet() {
	p.t.Helper()
	for _, f := range p.Pending() {
		if f.Event != "heartbeat" && f.Event != "user:online" && f.Event != "user:offline" {
			p.t.Fatalf("%s hears %s", p.user.Name, f.Raw)
		}
	}
}

type said = map[string]any

func (p *phone) call(conversation string, people ...*servertest.User) string {
	p.t.Helper()
	ids := []string{}
	for _, u := range people {
		ids = append(ids, u.ID)
	}
	return p.ok("call:initiate", said{"conversationId": conversation, "participants": ids, "callType": "video"})["callId"].(string)
}

// posted is the metadata of the newest message of a conversation.
func posted(u *servertest.User, conversation string) (kind, status string, seconds int) {
	var page []struct {
		Type     string
		Metadata struct {
			Status   string
			Duration int
		}
	}
	u.Do("GET", "/messages/conversation/"+conversation, nil).OK(&page)
	if len(page) == 0 {
		return "", "", 0
	}
	m := page[0]
	return m.Type, m.Metadata.Status, m.Metadata.Duration
}

func posts(t *testing.T, u *servertest.User, conversation, status string, seconds int) {
	t.Helper()
	for deadline := time.Now().Add(servertest.Patience); ; time.Sleep(5 * time.Millisecond) { // it is told before it is written down
		kind, got, took := posted(u, conversation)
		if kind == "call" && got == status && took == seconds {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("posted %s %s %d, want call %s %d", kind, got, took, status, seconds)
		}
	}
}

func TestACallOfTwoFromItsRingToItsEnd(t *testing.T) {
	s := servertest.Start(t)
	ada, bob := s.Register("ada"), s.Register("bob")
	room := ada.Single(bob)
	a, b, tablet := ring(t, ada), ring(t, bob), other(t, bob)

	id := a.call(room, bob)
	for _, p := range []*phone{b, tablet} {
		v := p.hears("call:incoming", said{"callId": id, "callType": "video", "conversationId": room})
		if from := v["from"].(map[string]any); from["id"] != ada.ID || from["displayName"] != "ADA" {
			t.Errorf("from %v", from)
		}
	}
	offer := said{"type": "offer", "sdp": "v=0"}
	a.ok("webrtc:offer", said{"callId": id, "targetUserId": bob.ID, "offer": said{"type": "offer", "sdp": "old"}})
	a.ok("webrtc:ice-candidate", said{"callId": id, "targetUserId": bob.ID, "candidate": said{"candidate": "old"}})
	a.ok("webrtc:offer", said{"callId": id, "targetUserId": bob.ID, "offer": offer})
	a.ok("webrtc:ice-candidate", said{"callId": id, "targetUserId": bob.ID, "candidate": said{"candidate": "one"}})
	b.quiet() // an offer waits until the call is answered
	b.fails("NOT_IN_CALL", "webrtc:answer", said{"callId": id, "targetUserId": ada.ID, "answer": said{"type": "answer"}})

	tablet.ok("call:answer", said{"callId": id})
	if f := tablet.Next(); f.Event != "webrtc:offer" || string(f.Data) != fmt.Sprintf(`{"callId":%q,"from":%q,"offer":{"sdp":"v=0","type":"offer"}}`, id, ada.ID) {
		t.Errorf("after the answer %s", f.Raw)
	}
	tablet.hears("webrtc:ice-candidate", said{"candidate": said{"candidate": "one"}})
	b.hears("call:ended", said{"callId": id, "endedBy": bob.ID, "reason": "answered_elsewhere"})
	b.fails("ANSWERED_ELSEWHERE", "call:answer", said{"callId": id})
	a.hears("call:participant:joined", said{"callId": id, "userId": bob.ID})

	tablet.ok("webrtc:answer", said{"callId": id, "targetUserId": ada.ID, "answer": said{"type": "answer", "sdp": "v=0"}})
	a.hears("webrtc:answer", said{"from": bob.ID, "answer": said{"type": "answer", "sdp": "v=0"}})
	a.ok("webrtc:ice-candidate", said{"callId": id, "targetUserId": bob.ID, "candidate": said{"candidate": "two"}})
	tablet.hears("webrtc:ice-candidate", said{"from": ada.ID, "candidate": said{"candidate": "two"}})
	tablet.ok("call:toggle-video", said{"callId": id, "enabled": false})
	a.hears("call:participant:video-toggled", said{"userId": bob.ID, "enabled": false})
	a.ok("call:toggle-audio", said{"callId": id, "enabled": false})
	tablet.hears("call:participant:audio-toggled", said{"userId": ada.ID, "enabled": false})
	b.quiet()

	s.Advance(90 * time.Second)
	tablet.ok("call:end", said{"callId": id})
	a.hears("call:ended", said{"callId": id, "endedBy": bob.ID, "reason": "hangup"})
	tablet.hears("call:ended", said{"callId": id})
	a.fails("CALL_NOT_FOUND", "call:end", said{"callId": id})
	posts(t, ada, room, "completed", 90)
	var list []struct {
		ID           string `json:"_id"`
		Status       string
		Duration     int
		Conversation struct{ ID string } `json:"conversationId"`
		Initiator    struct{ ID string } `json:"initiatorId"`
		Participants []struct {
			User        struct{ ID string } `json:"userId"`
			State       string
			JoinedAt    string
			LeftAt      string
			IsInitiator bool
		}
	}
	bob.Do("GET", "/calls", nil).OK(&list)
	if len(list) != 1 || list[0].ID != id || list[0].Status != "completed" || list[0].Duration != 90 || list[0].Conversation.ID != room || list[0].Initiator.ID != ada.ID ||
		len(list[0].Participants) != 2 || !list[0].Participants[0].IsInitiator || list[0].Participants[1].JoinedAt == "" || list[0].Participants[1].LeftAt == "" {
		t.Errorf("history %+v", list)
	}
}

func TestACallThatNobodyAnswersIsMissed(t *testing.T) {
	s := servertest.Start(t)
	ada, bob := s.Register("ada"), s.Register("bob")
	room := ada.Single(bob)
	a, b := ring(t, ada), ring(t, bob)
	since := b.Seq
	id := a.call(room)
	b.hears("call:incoming", said{"callId": id})
	late := other(t, bob) // a device that wakes while it rings
	late.hears("call:incoming", said{"callId": id})
	s.Advance(46 * time.Second)
	missed := b.Until("call:missed")
	a.hears("call:ended", said{"callId": id, "endedBy": "", "reason": "timeout"})
	posts(t, bob, room, "missed", 0)
	again := bob.Resume(since).Until("call:missed")
	if string(again.Data) != string(missed.Data) {
		t.Errorf("live %s, late %s", missed.Data, again.Data)
	}
	var unread struct{ Count int }
	bob.Do("GET", "/conversations/unread/count", nil).OK(&unread)
	if unread.Count != 1 {
		t.Errorf("unread %d", unread.Count)
	}
	a.fails("CALL_NOT_FOUND", "webrtc:offer", said{"callId": id, "targetUserId": bob.ID, "offer": said{}})
	b.fails("CALL_NOT_FOUND", "call:answer", said{"callId": id})
}

func TestACallIsDeclinedOnAllDevicesAndTakenBackByTheCaller(t *testing.T) {
	s := servertest.Start(t)
	ada, bob := s.Register("ada"), s.Register("bob")
	room := ada.Single(bob)
	a, b, tablet := ring(t, ada), ring(t, bob), other(t, bob)
	id := a.call(room, bob)
	b.hears("call:incoming", nil)
	tablet.hears("call:incoming", nil)
	b.ok("call:reject", said{"callId": id})
	a.hears("call:rejected", said{"callId": id, "userId": bob.ID})
	a.hears("call:ended", said{"callId": id, "endedBy": bob.ID})
	for _, p := range []*phone{b, tablet} {
		p.hears("call:rejected", said{"callId": id, "userId": bob.ID})
		p.hears("call:ended", said{"callId": id, "reason": "declined"})
	}
	posts(t, bob, room, "rejected", 0)

	id = a.call(room, bob)
	a.ok("call:end", said{"callId": id})
	b.Until("call:incoming")
	b.hears("call:ended", said{"callId": id, "endedBy": ada.ID, "reason": "cancelled"})
	posts(t, bob, room, "missed", 0)
}

func TestWhoIsInACallIsBusyAndTwoWhoCallEachOtherMeet(t *testing.T) {
	s := servertest.Start(t)
	ada, bob, carl := s.Register("ada"), s.Register("bob"), s.Register("carl")
	room, third := ada.Single(bob), carl.Single(bob)
	a, b, c := ring(t, ada), ring(t, bob), ring(t, carl)
	id := a.call(room, bob)
	b.hears("call:incoming", nil)
	b.fails("CALL_GLARE", "call:initiate", said{"conversationId": room, "participants": []string{ada.ID}, "callType": "video"})
	b.hears("call:incoming", said{"callId": id, "glare": true})
	b.ok("call:answer", said{"callId": id})
	a.hears("call:participant:joined", nil)

	c.fails("USER_BUSY", "call:initiate", said{"conversationId": third, "callType": "audio"})
	posts(t, bob, third, "missed", 0)
	b.hears("call:missed", said{"conversationId": third})
	other(t, bob).fails("ALREADY_IN_CALL", "call:initiate", said{"conversationId": third, "callType": "audio"})
	// The same device beginning anew has lost its call.
	again := ring(t, bob)
	again.call(third)
	a.hears("call:ended", said{"callId": id, "endedBy": bob.ID, "reason": "failed"})
}

func TestStrangersAndThoseWhoMayNoLongerTalkReachNobody(t *testing.T) {
	s := servertest.Start(t)
	ada, bob, eve := s.Register("ada"), s.Register("bob"), s.Register("eve")
	room := ada.Single(bob)
	a, b, e := ring(t, ada), ring(t, bob), ring(t, eve)
	e.fails("CONVERSATION_NOT_FOUND", "call:initiate", said{"conversationId": room, "participants": []string{ada.ID}, "callType": "audio"})
	id := a.call(room, bob, eve) // eve is no member: she is not called
	b.hears("call:incoming", said{"participants": []string{ada.ID, bob.ID}})
	e.quiet()
	for _, op := range []string{"call:answer", "call:reject", "call:end"} {
		e.fails("CALL_NOT_FOUND", op, said{"callId": id})
	}
	e.fails("CALL_NOT_FOUND", "webrtc:offer", said{"callId": id, "targetUserId": ada.ID, "offer": said{}})
	e.fails("CALL_NOT_FOUND", "call:toggle-audio", said{"callId": id, "enabled": true})
	a.fails("CALL_PARTICIPANT_NOT_FOUND", "webrtc:offer", said{"callId": id, "targetUserId": eve.ID, "offer": said{}})
	for _, request := range [][2]string{{"GET", ""}, {"PUT", ""}, {"PUT", "/join"}, {"PUT", "/leave"}, {"PUT", "/end"}, {"PUT", "/reject"}} {
		eve.Do(request[0], "/calls/"+id+request[1], said{"status": "completed"}).Fails(404, "CALL_NOT_FOUND")
	}
	eve.Do("POST", "/calls/"+id+"/invite", said{"userIds": []string{eve.ID}}).Fails(404, "CALL_NOT_FOUND")
	eve.Do("GET", "/calls/history/"+room, nil).Fails(404, "CONVERSATION_NOT_FOUND")

	b.ok("call:answer", said{"callId": id})
	a.hears("call:participant:joined", nil)
	bob.Do("POST", "/users/me/blocked-users", said{"userId": ada.ID}).OK(nil)
	a.fails("BLOCKED", "webrtc:ice-candidate", said{"callId": id, "targetUserId": bob.ID, "candidate": said{}})
	a.ok("call:end", said{"callId": id})
	a.fails("BLOCKED", "call:initiate", said{"conversationId": room, "callType": "audio"})
	a.fails("BLOCKED", "call:initiate", said{"participants": []string{bob.ID}, "callType": "audio"})
	a.fails("CALL_NOBODY", "call:initiate", said{"participants": []string{ada.ID}, "callType": "audio"})
	a.fails("USER_NOT_FOUND", "call:initiate", said{"participants": []string{"0123456789abcdef01234567"}, "callType": "audio"})
	a.fails("VALIDATION", "call:initiate", said{"participants": []string{eve.ID}, "callType": "smoke"})
	big := make([]byte, 70<<10)
	for i := range big {
		big[i] = 'x'
	}
	id = e.call("", ada)
	e.fails("VALIDATION", "webrtc:offer", said{"callId": id, "targetUserId": ada.ID, "offer": string(big)})
}

func TestACallSurvivesADeviceThatComesBackAndARestart(t *testing.T) {
	s := servertest.Start(t)
	ada, bob := s.Register("ada"), s.Register("bob")
	room := ada.Single(bob)
	a, b := ring(t, ada), ring(t, bob)
	id := a.call(room, bob)
	b.hears("call:incoming", nil)
	b.ok("call:answer", said{"callId": id})
	a.hears("call:participant:joined", nil)

	b.Close()
	a.hears("call:participant:reconnecting", said{"callId": id, "userId": bob.ID})
	a.ok("webrtc:ice-candidate", said{"callId": id, "targetUserId": bob.ID, "candidate": said{"candidate": "waits"}})
	b = ring(t, bob)
	b.hears("call:resume", said{"callId": id, "participants": []string{ada.ID, bob.ID}})
	b.hears("webrtc:ice-candidate", said{"candidate": said{"candidate": "waits"}})
	a.hears("call:participant:reconnected", said{"userId": bob.ID})

	s.Stop()
	s.Boot()
	a, b = ring(t, ada), ring(t, bob)
	a.hears("call:resume", said{"callId": id})
	b.hears("call:resume", said{"callId": id})
	a.hears("call:participant:reconnected", said{"userId": bob.ID})
	b.ok("webrtc:offer", said{"callId": id, "targetUserId": ada.ID, "offer": said{"sdp": "again"}})
	a.hears("webrtc:offer", said{"offer": said{"sdp": "again"}})

	b.Close()
	a.hears("call:participant:reconnecting", nil)
	s.Advance(31 * time.Second)
	a.hears("call:ended", said{"callId": id, "endedBy": bob.ID, "reason": "failed"})
	posts(t, ada, room, "completed", 31)
}

func TestAGroupCallGoesOnWhileTwoAreInIt(t *testing.T) {
	s := servertest.Start(t)
	ada, bob, carl, dora := s.Register("ada"), s.Register("bob"), s.Register("carl"), s.Register("dora")
	room := ada.Group("g", bob, carl, dora)
	a, b, c, d := ring(t, ada), ring(t, bob), ring(t, carl), ring(t, dora)
	id := a.call(room, bob, carl)
	b.hears("call:incoming", said{"isGroupCall": true})
	c.hears("call:incoming", nil)
	b.ok("call:reject", said{"callId": id})
	a.hears("call:participant:declined", said{"userId": bob.ID})
	c.ok("call:answer", said{"callId": id})
	a.hears("call:participant:joined", said{"userId": carl.ID})
	d.quiet()
	a.ok("call:invite", said{"callId": id, "userIds": []string{dora.ID, carl.ID}})
	d.hears("call:incoming", said{"isInvite": true})
	d.ok("call:answer", said{"callId": id})
	a.hears("call:participant:joined", said{"userId": dora.ID})
	c.hears("call:participant:joined", said{"userId": dora.ID})
	a.ok("call:end", said{"callId": id}) // the one who began it leaves
	a.hears("call:ended", said{"reason": "hangup"})
	c.hears("call:participant:left", said{"userId": ada.ID})
	d.hears("call:participant:left", said{"userId": ada.ID})
	c.ok("call:end", said{"callId": id})
	d.hears("call:participant:left", said{"userId": carl.ID})
	d.hears("call:ended", said{"callId": id})
	posts(t, dora, room, "completed", 0)
	carl.Do("DELETE", "/calls/history", nil).OK(nil)
	var mine, theirs []any
	carl.Do("GET", "/calls", nil).OK(&mine)
	dora.Do("GET", "/calls/history/"+room, nil).OK(&theirs)
	if len(mine) != 0 || len(theirs) != 1 {
		t.Errorf("%d and %d calls", len(mine), len(theirs))
	}
}

func TestTheShippedClientCallsOverItsNamespaceAndOverREST(t *testing.T) {
	s := servertest.Start(t)
	ada, bob := s.Register("ada"), s.Register("bob")
	room := ada.Single(bob)
	a, b := ada.IO("/webrtc"), bob.IO("/webrtc")
	chat := bob.IO("/chat")
	var ack struct {
		Success    bool
		CallID     string `json:"callId"`
		ICEServers []any  `json:"iceServers"`
	}
	raw := a.Ask("call:initiate", said{"conversationId": room, "participants": []string{bob.ID}, "callType": "audio"}).OK()
	decode(t, raw, &ack)
	if !ack.Success || ack.CallID == "" || ack.ICEServers == nil {
		t.Errorf("acknowledged %s", raw.Raw)
	}
	var made struct {
		ID     string `json:"_id"`
		Status string
	}
	ada.Do("POST", "/calls", said{"type": "audio", "conversationId": room, "participantIds": []string{bob.ID}}).OK(&made)
	if made.ID != ack.CallID || made.Status != "ongoing" {
		t.Errorf("made %+v", made)
	}
	b.Expect("call:incoming")
	a.Ask("webrtc:offer", said{"callId": ack.CallID, "targetUserId": bob.ID, "offer": said{"type": "offer", "sdp": "v=0"}}).OK()
	b.Ask("call:answer", said{"callId": ack.CallID}).OK()
	b.Expect("webrtc:offer")
	a.Expect("call:participant:joined")
	bob.Do("PUT", "/calls/call_"+ack.CallID, said{"status": "completed", "duration": 7}).OK(&made)
	bob.Do("PUT", "/calls/"+ack.CallID, said{"status": "completed", "duration": 7}).OK(&made)
	if made.Status != "completed" {
		t.Errorf("made %+v", made)
	}
	a.Expect("call:ended")
	b.Expect("call:ended")
	if told := chat.Next(); told.Event != "message:new" {
		t.Errorf("/chat hears %s", told.Event)
	}
	a.Ask("call:end", said{"callId": ack.CallID}).Fails("CALL_NOT_FOUND")
}

func decode(t *testing.T, a servertest.Acked, into any) {
	t.Helper()
	var args []json.RawMessage
	from := 0
	for from < len(a.Raw) && a.Raw[from] != '[' {
		from++
	}
	if err := json.Unmarshal([]byte(a.Raw[from:]), &args); err != nil || len(args) != 1 {
		t.Fatalf("%v in %s", err, a.Raw)
	}
	if err := json.Unmarshal(args[0], into); err != nil {
		t.Fatal(err)
	}
}
