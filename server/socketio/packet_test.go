package socketio

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
)

func raw(args ...string) []json.RawMessage {
	list := []json.RawMessage{}
	for _, a := range args {
		list = append(list, json.RawMessage(a))
	}
	return list
}

// same compares packets as they are meant: no arguments are no arguments.
func same(p, q Packet) bool {
	if len(p.Args) == 0 && len(q.Args) == 0 {
		p.Args, q.Args = nil, nil
	}
	return reflect.DeepEqual(p, q)
}

func TestPacketsAreReadAndWrittenAsTheStockClientDoes(t *testing.T) {
	for text, want := range map[string]Packet{
		`0`:                                {Type: Connect, Namespace: "/"},
		`0{"token":"a"}`:                   {Type: Connect, Namespace: "/", Data: json.RawMessage(`{"token":"a"}`)},
		`0/chat,`:                          {Type: Connect, Namespace: "/chat"},
		`0/chat,{"sid":"x"}`:               {Type: Connect, Namespace: "/chat", Data: json.RawMessage(`{"sid":"x"}`)},
		`1`:                                {Type: Disconnect, Namespace: "/"},
		`1/chat,`:                          {Type: Disconnect, Namespace: "/chat"},
		`2["ping"]`:                        {Type: Event, Namespace: "/", Event: "ping"},
		`2/chat,["a",{"b":[1,"]}"]},null]`: {Type: Event, Namespace: "/chat", Event: "a", Args: raw(`{"b":[1,"]}"]}`, `null`)},
		`2/chat,0["a"]`:                    {Type: Event, Namespace: "/chat", ID: "0", Event: "a"},
		`212["a",",[\"\\"]`:                {Type: Event, Namespace: "/", ID: "12", Event: "a", Args: raw(`",[\"\\"`)},
		`3/chat,17[{"success":true}]`:      {Type: Ack, Namespace: "/chat", ID: "17", Args: raw(`{"success":true}`)},
		`30[]`:                             {Type: Ack, Namespace: "/", ID: "0"},
		`4/x,{"message":"no"}`:             {Type: ConnectError, Namespace: "/x", Data: json.RawMessage(`{"message":"no"}`)},
		`4"no"`:                            {Type: ConnectError, Namespace: "/", Data: json.RawMessage(`"no"`)},
		`51-/chat,3`:                       {Type: BinaryEvent, Namespace: "/chat", ID: "3", Attachments: 1},
		`62-7`:                             {Type: BinaryAck, Namespace: "/", ID: "7", Attachments: 2},
	} {
		p, err := Decode([]byte(text))
		if err != nil || !same(p, want) {
			t.Errorf("%s is read as %+v, %v", text, p, err)
		}
		if got := string(want.Append(nil)); got != text {
			t.Errorf("%s is written as %s", text, got)
		}
		if got := string(want.Frame()); got != "4"+text {
			t.Errorf("%s is framed as %s", text, got)
		}
	}
	for text, want := range map[string]Packet{ // read, and written otherwise
		`1/chat`:             {Type: Disconnect, Namespace: "/chat"},
		`0/,{}`:              {Type: Connect, Namespace: "/", Data: json.RawMessage(`{}`)},
		`2[ "a" , 1 ,[] ] `:  {Type: Event, Namespace: "/", Event: "a", Args: raw(`1`, `[]`)},
		`2["\u00e9\n\""]`:    {Type: Event, Namespace: "/", Event: "é\n\""},
		`51-["a",{"_p":1}]`:  {Type: BinaryEvent, Namespace: "/", Attachments: 1},
		`2/chat,["a","\\"] `: {Type: Event, Namespace: "/chat", Event: "a", Args: raw(`"\\"`)},
	} {
		p, err := Decode([]byte(text))
		if err != nil || !same(p, want) {
			t.Errorf("%s is read as %+v, %v", text, p, err)
		}
	}
}

func TestWhatIsNotAPacketIsRefusedByName(t *testing.T) {
	long := strings.Repeat("x", 200)
	for text, want := range map[string]error{
		"": ErrType, "7": ErrType, "x": ErrType, " 2[]": ErrType, "\x00": ErrType,
		`5["a"]`: ErrAttachments, `5-["a"]`: ErrAttachments, `50-["a"]`: ErrAttachments, `511-["a"]`: ErrAttachments, `5-1-["a"]`: ErrAttachments,
		`5999999999999-["a"]`: ErrAttachments, `6x-1[]`: ErrAttachments, `5`: ErrAttachments,
		"2/" + long: ErrNamespace, "2/" + long + `,["a"]`: ErrNamespace, "2/a b,[]": ErrNamespace, "0/\xff,": ErrNamespace, "0/\n,": ErrNamespace,
		`21234567890123456["a"]`: ErrID, `3["a"]`: ErrID, `3/chat,[]`: ErrID, `01{}`: ErrID, `1/chat,1`: ErrID, `61-`: ErrID,
		`0[]`: ErrPayload, `0"a"`: ErrPayload, `0{`: ErrPayload, `0{}x`: ErrPayload, `0null`: ErrPayload, `4`: ErrPayload, `4[]`: ErrPayload,
		`1{}`: ErrPayload, `2`: ErrPayload, `2/chat,`: ErrPayload, `2[]`: ErrPayload, `2{}`: ErrPayload, `2[1]`: ErrPayload, `2[null]`: ErrPayload, `2["a"`: ErrPayload,
		`2["a",]`: ErrPayload, `2["a"]x`: ErrPayload, `2["connect"]`: ErrPayload, `2["disconn\u0065ct"]`: ErrPayload, `2["` + long + `"]`: ErrPayload, `2[["a"]]`: ErrPayload,
		`2["a"` + strings.Repeat(",1", 17) + `]`: ErrPayload, `31[` + strings.Repeat("[", 20000): ErrPayload, `31"a"`: ErrPayload, `31`: ErrPayload, `31[` + strings.Repeat("1,", 16) + `1]`: ErrPayload,
	} {
		if p, err := Decode([]byte(text)); !errors.Is(err, want) {
			t.Errorf("%.60q is read as %+v, %v, want %v", text, p, err, want)
		}
	}
}

func TestFramesAreSplit(t *testing.T) {
	for text, want := range map[string]FrameType{"2": Ping, "3": Pong, "3probe": Pong, "1": Close, "40": Message, `0{"sid":"x"}`: Open, "5": Upgrade, "6": Noop} {
		kind, payload, err := DecodeFrame([]byte(text))
		if err != nil || kind != want || string(payload) != text[1:] {
			t.Errorf("%q is read as %c %q, %v", text, kind, payload, err)
		}
	}
	for _, text := range []string{"", "7", "b4AAA", "{", "\x00"} {
		if _, _, err := DecodeFrame([]byte(text)); !errors.Is(err, ErrFrame) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// FuzzDecode reads whatever a client may send. What is read and written again is the same, and what is written is a
// packet of the stock client.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		"", "0", `0/chat,{"token":"a"}`, "1/chat,", `2["a",{"b":1}]`, `2/chat,17["message:send",{"content":"\u2028"}]`, `3/chat,17[{"success":true}]`, `4/x,{"message":"m"}`,
		`51-/chat,["a",{"_placeholder":true,"num":0}]`, `61-12[]`, `2[" ", [ ] , { } ]`, "2/a\xff,[]", `2["\ud800"]`, `2["<\u0000>",1e999]`, `0{"a":[[[[]]]]}`, `2["\\","\"],["]`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if kind, payload, err := DecodeFrame(b); err == nil && string(kind)+string(payload) != string(b) {
			t.Fatalf("%q is split into %c and %q", b, kind, payload)
		}
		p, err := Decode(b)
		if err != nil {
			return
		}
		if p.Namespace == "" || p.Namespace[0] != '/' || len(p.Namespace) > NamespaceMax || len(p.ID) > ackDigitsMax || len(p.Args) > argumentsMax {
			t.Fatalf("%q is read as %+v", b, p)
		}
		for _, arg := range p.Args {
			if !json.Valid(arg) {
				t.Fatalf("%q has the argument %q", b, arg)
			}
		}
		if p.Type == Event {
			var whole []json.RawMessage
			if err := json.Unmarshal(b[strings.IndexByte(string(b), '['):], &whole); err == nil && len(whole) != len(p.Args)+1 {
				t.Fatalf("%q has %d elements, read as %d", b, len(whole), len(p.Args)+1)
			}
		}
		again := p.Append(nil)
		if q, err := Decode(again); err != nil || !same(p, q) {
			t.Fatalf("%q is read as %+v, written as %q, and read as %+v, %v", b, p, again, q, err)
		}
		if frame := p.Frame(); frame[0] != byte(Message) || string(frame[1:]) != string(again) {
			t.Fatalf("%q is framed as %q", again, frame)
		}
	})
}
