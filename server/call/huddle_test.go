package call_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/quckchat/quckchat/server/servertest"
)

type huddle struct {
	ID           string `json:"_id"`
	RoomID       string `json:"roomId"`
	Status       string
	Duration     int
	Participants []struct {
		ID                                      string
		LeftAt                                  string
		IsAudioEnabled, IsVideoEnabled, IsMuted bool
	}
}

func startHuddle(u *servertest.User, chat string) (h huddle) {
	body := said{"type": "video"}
	if chat != "" {
		body["chatId"] = chat
	}
	u.Do("POST", "/huddle", body).OK(&h)
	return h
}

func TestAHuddleFromItsBeginningToItsEnd(t *testing.T) {
	s := servertest.Start(t)
	ada, bob, eve := s.Register("ada"), s.Register("bob"), s.Register("eve")
	room := ada.Group("g", bob)
	a, b := ring(t, ada), ring(t, bob)
	h := startHuddle(ada, room)
	for _, p := range []*phone{a, b} {
		p.hears("huddle:started", said{"roomId": h.RoomID, "chatId": room, "type": "video", "initiatorId": ada.ID})
	}
	ada.Do("POST", "/huddle", said{"type": "audio"}).OK(nil) // the same device beginning anew leaves the first
	a.hears("huddle:ended", said{"roomId": h.RoomID, "reason": "left"})
	a.hears("huddle:over", said{"roomId": h.RoomID})
	b.hears("huddle:over", said{"roomId": h.RoomID})
	ada.Do("POST", "/huddle/force-leave", nil).OK(nil)
	a.hears("huddle:ended", nil)

	h = startHuddle(ada, room)
	a.hears("huddle:started", nil)
	b.hears("huddle:started", nil)
	bob.Do("POST", "/huddle/join", said{"roomId": h.RoomID, "isVideoEnabled": false}).OK(&h)
	if len(h.Participants) != 2 || h.Participants[1].IsVideoEnabled || !h.Participants[1].IsAudioEnabled {
		t.Errorf("joined %+v", h)
	}
	bob.Do("POST", "/huddle/join", said{"roomId": h.RoomID, "isVideoEnabled": false}).OK(nil)
	a.hears("huddle:changed", said{"roomId": h.RoomID, "userId": bob.ID, "left": nil})
	bob.Do("PUT", "/huddle/"+h.RoomID+"/participant", said{"isMuted": true}).OK(nil)
	a.hears("huddle:audio-toggled", said{"userId": bob.ID, "enabled": false})
	bob.Do("PUT", "/huddle/"+h.RoomID+"/participants/"+ada.ID+"/mute", said{"muted": true}).Fails(403, "NOT_HUDDLE_MODERATOR")
	ada.Do("PUT", "/huddle/"+h.RoomID+"/participants/"+bob.ID+"/mute", said{"muted": true}).OK(&h)
	b.hears("huddle:muted", said{"userId": bob.ID, "muted": true, "mutedBy": ada.ID})
	a.hears("huddle:muted", nil)

	for _, r := range [][2]string{{"GET", ""}, {"DELETE", ""}, {"GET", "/participants"}, {"POST", "/leave"}, {"POST", "/knock"}, {"PUT", "/participant"}} {
		eve.Do(r[0], "/huddle/"+h.RoomID+r[1], said{}).Fails(404, "HUDDLE_NOT_FOUND")
	}
	eve.Do("POST", "/huddle/join", said{"roomId": h.RoomID}).Fails(404, "HUDDLE_NOT_FOUND")
	eve.Do("POST", "/huddle/"+h.RoomID+"/invite", said{"userIds": []string{eve.ID}}).Fails(404, "HUDDLE_NOT_FOUND")
	eve.Do("GET", "/huddle/chat/"+room, nil).Fails(404, "CONVERSATION_NOT_FOUND")
	if r := eve.Do("GET", "/huddle/active/me", nil); string(r.Body) != "null\n" && string(r.Body) != "null" {
		t.Errorf("in no huddle: %q", r.Body)
	}
	var active huddle
	var count int
	bob.Do("GET", "/huddle/active/me", nil).OK(&active)
	bob.Do("GET", "/huddle/active/count", nil).OK(&count)
	if active.RoomID != h.RoomID || count != 1 {
		t.Errorf("%d active, in %s", count, active.RoomID)
	}

	s.Advance(100 * time.Second)
	ada.Do("POST", "/huddle/"+h.RoomID+"/leave", nil).OK(nil)
	b.hears("huddle:changed", said{"userId": ada.ID, "left": true})
	bob.Do("POST", "/huddle/"+h.RoomID+"/leave", nil).OK(&h)
	if h.Status != "ended" || h.Duration != 100 {
		t.Errorf("ended %+v", h)
	}
	bob.Do("POST", "/huddle/join", said{"roomId": h.RoomID}).Fails(400, "HUDDLE_ENDED")
	if kind, _, took := posted(bob, room); kind != "huddle" || took != 100 {
		t.Errorf("posted %s %d", kind, took)
	}
	var list []huddle
	bob.Do("GET", "/huddle/history/me", nil).OK(&list)
	if len(list) != 1 || len(list[0].Participants) != 2 {
		t.Errorf("history %+v", list)
	}
	var stats struct{ TotalHuddles, TotalDuration, AverageDuration, VideoCount int }
	bob.Do("GET", "/huddle/stats/me", nil).OK(&stats)
	if stats.TotalHuddles != 1 || stats.TotalDuration != 100 || stats.VideoCount != 1 {
		t.Errorf("stats %+v", stats)
	}
}

func TestWhoKnocksIsLetInByThoseInside(t *testing.T) {
	s := servertest.Start(t)
	ada, bob, eve := s.Register("ada"), s.Register("bob"), s.Register("eve")
	a, b, e := ring(t, ada), ring(t, bob), ring(t, eve)
	h := startHuddle(ada, "")
	ada.Do("POST", "/huddle/"+h.RoomID+"/invite", said{"userIds": []string{bob.ID}}).OK(nil)
	b.hears("huddle:invitation", said{"roomId": h.RoomID, "type": "video", "inviterId": ada.ID})
	bob.Do("POST", "/huddle/join", said{"roomId": h.RoomID}).OK(nil)
	a.hears("huddle:changed", nil)
	eve.Do("POST", "/huddle/join", said{"roomId": h.RoomID}).Fails(404, "HUDDLE_NOT_FOUND")
	a.fails("CALL_PARTICIPANT_NOT_FOUND", "huddle:admit", said{"roomId": h.RoomID, "userId": eve.ID})
	eve.Do("POST", "/huddle/"+h.RoomID+"/knock", nil).OK(nil)
	a.hears("huddle:knock", said{"roomId": h.RoomID})
	b.hears("huddle:knock", nil)
	b.ok("huddle:admit", said{"roomId": h.RoomID, "userId": eve.ID, "admit": false})
	e.hears("huddle:admitted", said{"admitted": false})
	eve.Do("POST", "/huddle/"+h.RoomID+"/knock", nil).OK(nil)
	a.ok("huddle:admit", said{"roomId": h.RoomID, "userId": eve.ID})
	e.hears("huddle:invitation", nil)
	e.hears("huddle:admitted", said{"roomId": h.RoomID, "admitted": true})
	eve.Do("POST", "/huddle/join", said{"roomId": h.RoomID}).OK(&h)
	if len(h.Participants) != 3 {
		t.Errorf("inside %+v", h)
	}
	eve.Do("DELETE", "/huddle/"+h.RoomID, nil).Fails(403, "NOT_HUDDLE_MODERATOR")
	ada.Do("DELETE", "/huddle/"+h.RoomID, nil).OK(&h)
	if h.Status != "ended" {
		t.Errorf("ended %+v", h)
	}
}

func TestShippedClientsMeetInTheMeshOfAHuddle(t *testing.T) {
	s := servertest.Start(t)
	ada, bob, eve := s.Register("ada"), s.Register("bob"), s.Register("eve")
	room := ada.Group("g", bob)
	h := startHuddle(ada, room)
	bob.Do("POST", "/huddle/join", said{"roomId": h.RoomID}).OK(nil)
	a, b, e := ada.IO("/huddle"), bob.IO("/huddle"), eve.IO("/huddle")
	e.Ask("join-room", said{"roomId": h.RoomID}).Fails("HUDDLE_NOT_FOUND")
	told := func(sp *servertest.Space, name string, want said) {
		t.Helper()
		got := sp.Next()
		for got.Event == "huddle:changed" && name != got.Event {
			got = sp.Next()
		}
		if got.Event != name {
			t.Fatalf("told %s (%s), want %s", got.Event, got.Data, name)
		}
		var v said
		if err := json.Unmarshal(got.Data, &v); err != nil {
			t.Fatal(err)
		}
		for k, w := range want {
			if fmt.Sprint(v[k]) != fmt.Sprint(w) {
				t.Fatalf("%s tells %s, want %s=%v", name, got.Data, k, w)
			}
		}
	}
	a.Emit("join-room", said{"roomId": h.RoomID})
	told(a, "room-joined", said{"roomId": h.RoomID, "userId": ada.ID})
	b.Emit("join-room", said{"roomId": h.RoomID})
	told(b, "room-joined", said{"userId": bob.ID})
	told(a, "participant-joined", said{"userId": bob.ID})
	a.Emit("webrtc-offer", said{"to": bob.ID, "roomId": h.RoomID, "offer": said{"sdp": "o"}})
	told(b, "webrtc-offer", said{"from": ada.ID, "to": bob.ID, "offer": said{"sdp": "o"}})
	b.Emit("webrtc-answer", said{"to": ada.ID, "roomId": h.RoomID, "answer": said{"sdp": "a"}})
	told(a, "webrtc-answer", said{"from": bob.ID, "answer": said{"sdp": "a"}})
	a.Emit("ice-candidate", said{"to": bob.ID, "roomId": h.RoomID, "candidate": said{"candidate": "c"}})
	told(b, "ice-candidate", said{"from": ada.ID, "candidate": said{"candidate": "c"}})
	b.Emit("toggle-video", said{"roomId": h.RoomID, "enabled": false})
	told(a, "participant-video-toggled", said{"userId": bob.ID, "enabled": false})
	a.Emit("get-participants", said{"roomId": h.RoomID})
	told(a, "participants-list", said{"participants": []any{said{"userId": ada.ID, "socketId": ada.ID}, said{"userId": bob.ID, "socketId": bob.ID}}})
	b.Emit("leave-room", said{"roomId": h.RoomID})
	told(b, "room-left", said{"roomId": h.RoomID})
	told(a, "participant-left", said{"userId": bob.ID})
	b.Emit("join-room", said{"roomId": h.RoomID})
	told(a, "participant-joined", nil)

	// Whoever is gone for half a minute has left, and is no ghost.
	b.IO.Close()
	told(a, "participant-left", said{"userId": bob.ID})
	s.Advance(31 * time.Second)
	a.Until("huddle:changed")
	var now huddle
	ada.Do("GET", "/huddle/"+h.RoomID, nil).OK(&now)
	if now.Participants[1].LeftAt == "" {
		t.Errorf("a ghost: %+v", now)
	}
	a.IO.Close()
	posts := func() string { kind, _, _ := posted(ada.Refreshed(), room); return kind }
	for deadline := time.Now().Add(servertest.Patience); posts() != "huddle"; s.Advance(31 * time.Second) {
		if time.Now().After(deadline) {
			t.Fatal("the huddle goes on with nobody in it")
		}
	}
}

func TestAHuddleSurvivesARestart(t *testing.T) {
	s := servertest.Start(t)
	ada, bob := s.Register("ada"), s.Register("bob")
	room := ada.Group("g", bob)
	h := startHuddle(ada, room)
	bob.Do("POST", "/huddle/join", said{"roomId": h.RoomID}).OK(nil)
	s.Stop()
	s.Boot()
	a := ring(t, ada)
	s.Advance(31 * time.Second)
	a.hears("huddle:changed", said{"userId": bob.ID, "left": true})
	ada.Do("GET", "/huddle/"+h.RoomID, nil).OK(&h)
	if h.Status != "active" || h.Participants[0].LeftAt != "" || h.Participants[1].LeftAt == "" {
		t.Errorf("after the restart %+v", h)
	}
}
