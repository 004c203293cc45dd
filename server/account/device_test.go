package account_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/quckchat/quckchat/server/account"
	"github.com/quckchat/quckchat/storage"
)

// on signs somebody in on a device that says which it is.
func (w *world) on(device, username string) person {
	w.t.Helper()
	p := w.ok(200, person{headers: []string{"X-Device-Id", device, "User-Agent", "okhttp/4"}}, "POST", "/auth/login", "username", username, "password", password).person()
	return p
}

func (w *world) devices(who person) (list []account.LinkedDevice) {
	w.t.Helper()
	must(w.t, json.Unmarshal(w.ok(200, who, "GET", "/users/me/linked-devices").raw, &list))
	return list
}

// tokens are the push tokens in the database, as "token platform username device".
func (w *world) tokens() (list []string) {
	w.t.Helper()
	must(w.t, w.db.Read(w.t.Context(), func(v storage.View) error {
		rows, err := v.Query("SELECT p.token, p.platform, u.username, p.device_id FROM push_token p JOIN user u ON u.id = p.user_id ORDER BY p.token")
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var token, platform, name, device string
			if err := rows.Scan(&token, &platform, &name, &device); err != nil {
				return err
			}
			list = append(list, strings.TrimSpace(token+" "+platform+" "+name+" "+device))
		}
		return rows.Err()
	}))
	return list
}

func (w *world) holds(want ...string) {
	w.t.Helper()
	slices.Sort(want)
	if got := w.tokens(); !slices.Equal(got, want) {
		w.t.Errorf("tokens %q, want %q", got, want)
	}
}

func TestDevicesAreLinkedNamedAndUnlinkedWithTheirSessions(t *testing.T) {
	w := newWorld(t)
	first := w.join("ada") // says nothing of its device
	phone := w.on("phone-1", "ada")
	w.sleep(time.Minute)
	tablet := w.on("tablet", "ada")
	other := w.join("bob")
	names, _ := w.told()
	if want := "user:updated user " + first.id; !slices.Equal(names, []string{want, want}) {
		t.Errorf("told %v", names)
	}
	list := w.devices(first)
	if len(list) != 2 || list[0].DeviceID != "tablet" || list[1].DeviceID != "phone-1" || list[1].DeviceName != "Android app" || list[1].DeviceType != "mobile" {
		t.Errorf("devices %+v", list)
	}
	w.sleep(time.Minute)
	self := w.ok(201, phone, "POST", "/users/me/linked-devices", "deviceId", "phone-1", "deviceName", " Ada's phone ", "fcmToken", "t-1")
	devices, _ := self.body["linkedDevices"].([]any)
	if len(devices) != 2 {
		t.Fatalf("self: %s", self.raw)
	}
	if d := devices[0].(map[string]any); d["deviceId"] != "phone-1" || d["deviceName"] != "Ada's phone" || d["deviceType"] != "mobile" || d["fcmToken"] != "t-1" ||
		d["lastActive"] == d["linkedAt"] || d["linkedAt"] == "" {
		t.Errorf("device %v", d)
	}
	if d := devices[1].(map[string]any); d["fcmToken"] != nil {
		t.Errorf("device %v", d)
	}
	_, live := w.told()
	if late := w.late(live); len(live) != 1 || !reflect.DeepEqual(late[0], live[0].Value) {
		t.Errorf("late %+v\nlive %+v", late, live)
	}
	w.sleep(time.Minute)
	w.ok(200, phone, "PUT", "/users/me/linked-devices/tablet/active")
	if got := w.devices(first); got[0].DeviceID != "tablet" {
		t.Errorf("liveliest is %s", got[0].DeviceID)
	}
	if r := w.ok(200, other, "GET", "/users/"+first.id); strings.Contains(string(r.raw), "phone-1") {
		t.Errorf("others see %s", r.raw)
	}

	// The first session is linked by the first device it names, and no other.
	w.ok(201, first, "POST", "/users/me/linked-devices", "deviceId", "desk", "deviceName", "Desk", "deviceType", "desktop")
	w.ok(201, first, "POST", "/users/me/linked-devices", "deviceId", "watch", "deviceName", "Watch", "deviceType", "web")
	w.ok(200, first, "DELETE", "/users/me/linked-devices/watch")
	w.ok(200, first, "GET", "/users/me")

	// Nobody unlinks another's, and what is unlinked is signed out everywhere.
	w.fails("DEVICE_NOT_FOUND", other, "DELETE", "/users/me/linked-devices/phone-1")
	w.fails("DEVICE_NOT_FOUND", other, "PUT", "/users/me/linked-devices/phone-1/active")
	w.holds("t-1 fcm ada phone-1")
	w.ok(200, tablet, "DELETE", "/users/me/linked-devices/phone-1")
	w.holds()
	w.fails("INVALID_TOKEN", phone, "GET", "/users/me")
	w.fails("INVALID_TOKEN", person{}, "POST", "/auth/refresh", "refreshToken", phone.refresh)
	w.ok(200, tablet, "DELETE", "/users/me/linked-devices/desk")
	w.fails("INVALID_TOKEN", first, "GET", "/users/me")
	w.fails("DEVICE_NOT_FOUND", tablet, "DELETE", "/users/me/linked-devices/desk")
	if got := w.devices(tablet); len(got) != 1 || got[0].DeviceID != "tablet" {
		t.Errorf("devices %+v", got)
	}
	w.ok(200, tablet, "DELETE", "/users/me/linked-devices/tablet") // one's own
	w.fails("INVALID_TOKEN", tablet, "GET", "/users/me")
	actions, _ := w.audited()
	if n := len(slices.DeleteFunc(actions, func(a string) bool { return a != "device_unlink" })); n != 4 {
		t.Errorf("%d unlinkings are in the audit log", n)
	}

	// Coming back on a device brings it back.
	again := w.on("phone-1", "ada")
	if got := w.devices(again); len(got) != 1 || got[0].DeviceID != "phone-1" {
		t.Errorf("devices %+v", got)
	}
	was := w.devices(again)[0].LastActive
	w.sleep(time.Hour)
	again = w.ok(200, person{}, "POST", "/auth/refresh", "refreshToken", again.refresh).person()
	if got := w.devices(again)[0]; got.LastActive == was {
		t.Errorf("a refresh does not make it lively: %+v", got)
	}
	for _, wrong := range [][]any{
		{"deviceId", "", "deviceName", "x"}, {"deviceId", "x", "deviceName", " "}, {"deviceId", "x"}, {"deviceId", "x", "deviceName", "x", "deviceType", "toaster"},
		{"deviceId", strings.Repeat("x", 129), "deviceName", "x"}, {"deviceId", "a\nb", "deviceName", "x"}, {"deviceId", "x", "deviceName", "x", "fcmToken", strings.Repeat("x", 5000)},
		{"deviceId", "x", "deviceName", "x", "DEVICETYPE", "toaster"},
	} {
		w.fails("VALIDATION", again, "POST", "/users/me/linked-devices", wrong...)
	}
	w.on("\x01\xff", "ada")
	for i := range 60 {
		w.sleep(time.Second)
		w.ok(201, again, "POST", "/users/me/linked-devices", "deviceId", fmt.Sprint("d", i), "deviceName", "x")
	}
	if got := w.devices(again); len(got) != 50 || got[0].DeviceID != "d59" || got[49].DeviceID != "d10" {
		t.Errorf("%d devices, %+v", len(got), got)
	}
	w.fails("UNAUTHORIZED", local, "POST", "/users/me/linked-devices", "deviceId", "x", "deviceName", "x")
}

func TestPushTokensFollowWhoeverRegistersThemAndEndWithTheSession(t *testing.T) {
	w := newWorld(t)
	ada, bob := w.join("ada"), w.join("bob")
	phone := w.on("phone", "ada")
	apple, browser := strings.Repeat("0aF9", 16), `{"endpoint":"https://push.example/x"}`
	w.ok(200, phone, "PUT", "/users/me/fcm-token", "token", "ExponentPushToken[x]", "action", "add")
	w.ok(200, phone, "PUT", "/users/me/fcm-token", "token", "ExponentPushToken[x]", "action", "add") // a set
	w.ok(200, phone, "PUT", "/users/me/fcm-token", "fcmToken", "fire:base", "action", "add")         // another of the same phone
	w.ok(201, ada, "POST", "/users/fcm-token", "fcmToken", apple)
	w.ok(200, bob, "PUT", "/users/me/fcm-token", "token", browser)
	w.holds("ExponentPushToken[x] expo ada phone", "fire:base fcm ada phone", apple+" apns ada", browser+" web bob")
	if got := w.devices(ada); len(got) != 1 || got[0].FCMToken == nil {
		t.Errorf("devices %+v", got)
	}

	// A token moves with the phone to the account that is signed in there now; nobody takes another's back.
	w.sleep(time.Second)
	w.ok(200, bob, "PUT", "/users/me/fcm-token", "token", "fire:base", "action", "add", "platform", "apns")
	w.ok(200, ada, "PUT", "/users/me/fcm-token", "token", "fire:base", "action", "remove")
	w.ok(200, ada, "DELETE", "/users/fcm-token", "fcmToken", browser)
	w.holds("ExponentPushToken[x] expo ada phone", "fire:base apns bob", apple+" apns ada", browser+" web bob")
	w.ok(200, bob, "PUT", "/users/me/fcm-token", "token", browser, "action", "whatever")
	w.ok(200, bob, "DELETE", "/users/fcm-token", "fcmToken", "fire:base")
	w.holds("ExponentPushToken[x] expo ada phone", apple+" apns ada")

	w.ok(200, phone, "POST", "/auth/logout")
	w.holds(apple + " apns ada")
	w.ok(200, w.on("phone", "ada"), "PUT", "/users/me/fcm-token", "token", "t")
	w.ok(200, ada, "DELETE", "/auth/sessions") // all others
	w.holds(apple + " apns ada")
	w.sleep(31 * 24 * time.Hour) // nobody refreshes: the session is over
	must(t, w.Sweep(t.Context()))
	w.holds()

	again := w.login("bob")
	for _, wrong := range [][]any{{"token", ""}, {"token", " "}, {"action", "add"}, {"token", "a\x00b"}, {"token", strings.Repeat("x", 4097)}, {"token", 5}} {
		w.fails("VALIDATION", again, "PUT", "/users/me/fcm-token", wrong...)
		w.fails("VALIDATION", again, "POST", "/users/fcm-token", wrong...)
		w.fails("VALIDATION", again, "DELETE", "/users/fcm-token", wrong...)
	}
	for i := range 25 {
		w.sleep(time.Second)
		w.ok(201, again, "POST", "/users/fcm-token", "token", fmt.Sprintf("t%02d", i))
	}
	if got := w.tokens(); len(got) != 20 || got[0] != "t05 fcm bob" {
		t.Errorf("%d tokens, %q", len(got), got)
	}
	w.fails("UNAUTHORIZED", local, "PUT", "/users/me/fcm-token", "token", "x")
}
