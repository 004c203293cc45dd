package account_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/quckchat/quckchat/server/account"
	"github.com/quckchat/quckchat/storage"
)

// contacts lists somebody's contacts, as "name id" with what they are called, in pages of limit.
func (w *world) contacts(who person, limit int) (names []string) {
	w.t.Helper()
	for after := ""; ; {
		var page []account.Contact
		must(w.t, json.Unmarshal(w.ok(200, who, "GET", fmt.Sprintf("/users/me/contacts?limit=%d&after=%s", limit, after)).raw, &page))
		if len(page) == 0 {
			return names
		}
		for _, c := range page {
			name := c.DisplayName
			if c.ContactName != nil {
				name = *c.ContactName
			}
			names = append(names, name)
		}
		after = page[len(page)-1].ID
	}
}

func TestContactsAreKeptInOrderAndOnAllDevices(t *testing.T) {
	w := newWorld(t)
	me, bob, carl, dora := w.join("ada"), w.join("bob"), w.join("carl"), w.join("dora")
	phone := w.ok(200, dora, "GET", "/users/me").text("phoneNumber")
	w.told()
	c := w.ok(201, me, "POST", "/users/me/contacts", "userId", carl.id, "name", "  Uncle  ")
	if c.text("_id") != carl.id || c.text("displayName") != "Carl" || c.text("contactName") != "Uncle" || c.text("addedAt") == "" {
		t.Errorf("added: %s", c.raw)
	}
	w.ok(201, me, "POST", "/users/me/contacts", "username", "BOB")
	w.ok(201, me, "POST", "/users/me/contacts", "phoneNumber", phone[1:])
	w.ok(201, me, "POST", "/users/me/contacts", "userId", bob.id) // again, and nothing else
	if again := w.ok(201, me, "POST", "/users/me/contacts", "contactId", carl.id); again.text("contactName") != "Uncle" {
		t.Errorf("added again: %s", again.raw)
	}
	for _, limit := range []int{1, 2, 100} {
		if got := w.contacts(me, limit); !slices.Equal(got, []string{"Bob", "Dora", "Uncle"}) {
			t.Errorf("contacts: %q", got)
		}
	}
	w.ok(200, me, "PUT", "/users/me/contacts/"+carl.id, "name", "aunt")
	w.ok(200, me, "PUT", "/users/me/contacts/"+carl.id, "name", "aunt")
	w.ok(200, me, "PUT", "/users/me/contacts/"+carl.id, "other", "ignored")
	if got := w.contacts(me, 2); !slices.Equal(got, []string{"aunt", "Bob", "Dora"}) {
		t.Errorf("contacts: %q", got)
	}
	if c := w.ok(200, me, "PUT", "/users/me/contacts/"+carl.id, "name", nil); c.body["contactName"] != nil {
		t.Errorf("called by their own name: %s", c.raw)
	}
	w.ok(200, me, "DELETE", "/users/me/contacts/"+dora.id)
	w.ok(200, me, "DELETE", "/users/me/contacts/"+dora.id)
	if got := w.contacts(me, 2); !slices.Equal(got, []string{"Bob", "Carl"}) {
		t.Errorf("contacts: %q", got)
	}

	names, live := w.told()
	mine := " user " + me.id
	want := []string{"contact:updated" + mine, "contact:updated" + mine, "contact:updated" + mine, "contact:updated" + mine, "contact:updated" + mine, "contact:removed" + mine}
	if !slices.Equal(names, want) {
		t.Fatalf("told %v", names)
	}
	late := w.late(live)
	if !reflect.DeepEqual(late[4], live[4].Value) || !reflect.DeepEqual(late[5], live[5].Value) || late[2] != nil {
		t.Errorf("late %+v\nlive %+v", late, live)
	}
	if got := w.contacts(bob, 10); len(got) != 0 {
		t.Errorf("bob has %q", got)
	}

	w.fails("CONTACT_NOT_FOUND", me, "PUT", "/users/me/contacts/"+dora.id, "name", "x")
	w.fails("VALIDATION", me, "POST", "/users/me/contacts", "userId", me.id)
	w.fails("VALIDATION", me, "POST", "/users/me/contacts", "name", "x")
	w.fails("VALIDATION", me, "POST", "/users/me/contacts", "phoneNumber", "call me")
	w.fails("VALIDATION", me, "POST", "/users/me/contacts", "userId", bob.id, "name", strings.Repeat("x", 101))
	w.fails("USER_NOT_FOUND", me, "POST", "/users/me/contacts", "username", "ada") // oneself
	w.fails("USER_NOT_FOUND", me, "POST", "/users/me/contacts", "username", "nobody")
	w.fails("USER_NOT_FOUND", me, "POST", "/users/me/contacts", "phoneNumber", "+199999999")
	w.fails("USER_NOT_FOUND", me, "POST", "/users/me/contacts", "userId", "000000000000000000000000")

	// Nobody is found by a name who would not be found by a search, and whoever is gone is not listed.
	w.ok(201, dora, "POST", "/users/me/blocked-users", "userId", me.id)
	w.fails("USER_NOT_FOUND", me, "POST", "/users/me/contacts", "username", "dora")
	w.fails("USER_NOT_FOUND", me, "POST", "/users/me/contacts", "phoneNumber", phone)
	must(t, w.db.Write(t.Context(), "erase", func(tx *storage.Tx) error {
		_, err := tx.Exec("UPDATE user SET erased_at = 1 WHERE id = ?", bob.id)
		return err
	}))
	if got := w.contacts(me, 2); !slices.Equal(got, []string{"Carl"}) {
		t.Errorf("contacts: %q", got)
	}
}

func TestAContactListEndsSomewhere(t *testing.T) {
	w := newWorld(t)
	me, other := w.join("ada"), w.join("bob")
	w.manyPeople(t, 5000, "INSERT INTO contact (user_id, contact_id, created_at) VALUES (?, ?, 1)", me.id)
	w.fails("CONTACTS_FULL", me, "POST", "/users/me/contacts", "userId", other.id)
	w.ok(201, me, "POST", "/users/me/contacts", "userId", "guest7", "name", "Seven") // there already
	if got := w.contacts(me, 1000); len(got) != 5000 {
		t.Errorf("%d contacts", len(got))
	}
	w.ok(200, me, "DELETE", "/users/me/contacts/guest7")
	w.ok(201, me, "POST", "/users/me/contacts", "userId", other.id)
}
