package stocktest

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/quckchat/quckchat/server/servertest"
)

// TestEveryVerbIsAcknowledgedInOneOfTwoForms says every verb that the server knows with nothing, and with ids of nothing,
// in both namespaces: whatever becomes of it, the client can read the acknowledgement (contract 4.3).
func TestEveryVerbIsAcknowledgedInOneOfTwoForms(t *testing.T) {
	t.Parallel()
	stock := servertest.StartStock(t)
	s := servertest.Start(t)
	bob := s.Register("bob")
	bob.Group("g")
	nothing := "ffffffffffffffffffffffff"
	for _, namespace := range []string{chat, web} {
		space := stock.Connect(s.URL, nil).Space(namespace, object{"token": bob.Token})
		space.Expect("connect")
		for _, row := range s.Inner.Table().Rows() {
			if row.Verb == "" {
				continue
			}
			for _, payload := range []any{nil, object{}, object{"conversationId": nothing, "messageId": nothing, "userId": nothing, "participantId": nothing, "deviceId": nothing}} {
				ack := space.Ask(row.Verb, payload)
				var fields []map[string]json.RawMessage
				if err := json.Unmarshal([]byte(ack.Raw), &fields); err != nil || len(fields) != 1 {
					t.Fatalf("%s: %s", row.Verb, ack.Raw)
				}
				delete(fields[0], "success")
				want := []string{"code", "error"}
				switch _, asks := fields[0]["errors"]; {
				case ack.Success && slices.Contains(asked, row.Verb):
					want = nil // those that answer a message do not succeed here
				case ack.Success:
					want = []string{"data"}
				case asks:
					want = append(want, "errors")
				}
				for _, name := range want {
					if _, there := fields[0][name]; !there {
						t.Errorf("%s %s with %v: no %s in %s", namespace, row.Verb, payload, name, ack.Raw)
					}
				}
				if len(fields[0]) != len(want) || ack.Code == "INTERNAL" || ack.Code == "UNKNOWN_OPERATION" || !ack.Success && ack.Error == "" {
					t.Errorf("%s %s with %v: %s", namespace, row.Verb, payload, ack.Raw)
				}
			}
		}
	}
}
