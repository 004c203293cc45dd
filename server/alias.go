package server

import "github.com/quckchat/quckchat/server/api"

// This file is every old spelling of a path, and the route that it stands for (contract, sections 0, 3 and 4.7). Without
// it, and without its line in rows, the server is complete, and some clients of before no longer find their way.

// spelling is a route under another name.
type spelling struct {
	old, now string
	options  []api.Option
}

// spellings are the ones below the prefix.
var spellings = []spelling{
	{old: "POST /auth/token/refresh", now: "POST /auth/refresh"},
	{old: "GET /auth/me", now: "GET /users/me"},
	{old: "PATCH /users/me", now: "PUT /users/me"},
	{old: "PATCH /conversations/{conversationId}", now: "PUT /conversations/{conversationId}"},
	{old: "POST /conversations/{conversationId}/participants", now: "PUT /conversations/{conversationId}/participants"},
	{old: "POST /conversations/{conversationId}/read", now: "PUT /conversations/{conversationId}/read", options: []api.Option{api.OK}},
	{old: "POST /conversations/{conversationId}/mute", now: "PUT /conversations/{conversationId}/mute"},
	{old: "DELETE /conversations/{conversationId}/archive", now: "POST /conversations/{conversationId}/unarchive", options: []api.Option{api.OK}},
}

// flutter are those of the Flutter client. It knows no prefix, and a service for every subject.
var flutter = []spelling{
	{old: "POST /api/auth/v1/token/refresh", now: "POST /auth/refresh"},
	{old: "POST /api/auth/v1/logout", now: "POST /auth/logout"},
	{old: "GET /api/auth/v1/sessions", now: "GET /auth/sessions"},
	{old: "DELETE /api/auth/v1/sessions", now: "DELETE /auth/sessions"},
	{old: "DELETE /api/auth/v1/sessions/{sessionId}", now: "DELETE /auth/sessions/{sessionId}"},
	{old: "GET /api/auth/v1/users/me", now: "GET /users/me"},
	{old: "PATCH /api/auth/v1/users/profile", now: "PUT /users/me"},
	{old: "PUT /api/users/profile", now: "PUT /users/me"},
	{old: "GET /api/users/{userId}", now: "GET /users/{userId}"},
	{old: "GET /conversations", now: "GET /conversations"},
	{old: "POST /conversations", now: "POST /conversations"},
	{old: "POST /conversations/direct/{userId}", now: "POST /conversations/direct/{userId}"},
	{old: "GET /conversations/{conversationId}", now: "GET /conversations/{conversationId}"},
	{old: "PATCH /conversations/{conversationId}", now: "PUT /conversations/{conversationId}"},
	{old: "DELETE /conversations/{conversationId}", now: "DELETE /conversations/{conversationId}"},
	{old: "POST /conversations/{conversationId}/participants", now: "PUT /conversations/{conversationId}/participants"},
	{old: "DELETE /conversations/{conversationId}/participants/{participantId}", now: "DELETE /conversations/{conversationId}/participants/{participantId}"},
	{old: "POST /conversations/{conversationId}/read", now: "PUT /conversations/{conversationId}/read", options: []api.Option{api.OK}},
	{old: "POST /conversations/{conversationId}/mute", now: "PUT /conversations/{conversationId}/mute"},
	{old: "POST /conversations/{conversationId}/unmute", now: "POST /conversations/{conversationId}/unmute"},
	{old: "POST /conversations/{conversationId}/pin", now: "POST /conversations/{conversationId}/pin"},
	{old: "POST /conversations/{conversationId}/unpin", now: "POST /conversations/{conversationId}/unpin"},
	{old: "POST /conversations/{conversationId}/archive", now: "POST /conversations/{conversationId}/archive"},
	{old: "POST /conversations/{conversationId}/unarchive", now: "POST /conversations/{conversationId}/unarchive"},
	{old: "DELETE /conversations/{conversationId}/archive", now: "POST /conversations/{conversationId}/unarchive", options: []api.Option{api.OK}},
	{old: "GET /conversations/{conversationId}/messages", now: "GET /conversations/{conversationId}/messages"},
	{old: "POST /conversations/{conversationId}/messages", now: "POST /conversations/{conversationId}/messages"},
	{old: "GET /conversations/{conversationId}/messages/search", now: "GET /conversations/{conversationId}/messages/search"},
	{old: "PATCH /conversations/{conversationId}/messages/{messageId}", now: "PATCH /conversations/{conversationId}/messages/{messageId}"},
	{old: "DELETE /conversations/{conversationId}/messages/{messageId}", now: "DELETE /conversations/{conversationId}/messages/{messageId}"},
	{old: "POST /conversations/{conversationId}/messages/{messageId}/read", now: "POST /conversations/{conversationId}/messages/{messageId}/read"},
}

// aliases returns the rows of the old spellings. A spelling of a route that does not exist is a mistake here.
func aliases(rows []api.Row) []api.Row {
	known := map[string]api.Row{}
	for _, row := range rows {
		known[row.Method+" "+row.Path] = row
	}
	var out []api.Row
	add := func(list []spelling, more ...api.Option) {
		for _, s := range list {
			row, ok := known[s.now]
			if !ok {
				panic("server: " + s.old + " is an old spelling of nothing")
			}
			out = append(out, row.As(s.old, append(more, s.options...)...))
		}
	}
	add(spellings)
	add(flutter, api.AtRoot, api.For(api.DialectFlutter))
	return out
}
