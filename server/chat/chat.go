// Package chat is conversations and what is said in them.
//
// A message enters by [Service.Send] whatever door it came through. It gets the next number n of its conversation;
// history pages by n, unread counters count above the member's read_n, and nothing is updated per member on a send.
//
// Who sees what follows from the table member: one row per stay of a person in a conversation, from joined_seq to
// left_seq in the event log. A member sees the messages above history_from_n, which is where the conversation stood
// when they joined. A stranger and somebody who has left get CONVERSATION_NOT_FOUND.
//
// One file is one feature: conversation, member, message (sending), forward, mention, history, edit (and delete),
// reaction, receipt, processed (what becomes of files), find (over the package search), typing; render has the forms that late readers of the event log get.
package chat

import (
	"log/slog"
	"slices"

	"github.com/quckchat/quckchat/server/account"
	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/server/chat/search"
	"github.com/quckchat/quckchat/server/config"
	"github.com/quckchat/quckchat/server/event"
	"github.com/quckchat/quckchat/server/job"
	"github.com/quckchat/quckchat/server/media"
	"github.com/quckchat/quckchat/storage"
)

// Service holds what the operations of this package need.
type Service struct {
	db     *storage.DB
	events *event.Log
	jobs   *job.Queue
	config *config.Live
	log    *slog.Logger
	search *search.Index
	media  *media.Service
	typing *typists
	sweep  *sweeper

	presence func(q storage.Querier, viewer string, people []*account.Public) error
}

// Options are what New needs.
type Options struct {
	DB     *storage.DB
	Events *event.Log
	Jobs   *job.Queue
	Config *config.Live
	Log    *slog.Logger
	Search *search.Index
	Media  *media.Service
	// Presence adds to people who share a conversation with the viewer whether they are here.
	Presence func(q storage.Querier, viewer string, people []*account.Public) error
}

// New makes the service, registers its events and its jobs.
func New(o Options) *Service {
	s := &Service{db: o.DB, events: o.Events, jobs: o.Jobs, config: o.Config, log: o.Log, search: o.Search, media: o.Media, presence: o.Presence}
	s.typing, s.sweep = newTypists(o.Events), newSweeper()
	o.Events.Register(s.Events()...)
	o.Media.OnProcessed(s.processed)
	o.Media.OnTranscribed(s.transcribed)
	o.Jobs.Handle(purgeKind, job.Handler{Workers: 1, MaxAttempts: 20, Run: s.purge})
	o.Jobs.Handle(processedKind, job.Handler{Workers: 1, MaxAttempts: 20, Run: s.tellProcessed}) // one at a time: see there
	o.Jobs.Handle(transcribedKind, job.Handler{Workers: 1, MaxAttempts: 20, Run: s.tellTranscribed})
	return s
}

// The kinds of event that this package emits.
const (
	MessageNew          = "message:new"
	MessageEdited       = "message:edited"
	MessageDeleted      = "message:deleted"
	MessageRead         = "message:read"
	MessagePinned       = "message:pinned"
	MessageUnpinned     = "message:unpinned"
	ConversationNew     = "conversation:new"
	ConversationUpdated = "conversation:updated"
	ConversationDeleted = "conversation:deleted"
	ConversationKept    = "conversation:state"
	ParticipantAdded    = "conversation:participant:added"
	ParticipantRemoved  = "conversation:participant:removed"
)

// Routes are the operations on conversations and messages.
func (s *Service) Routes() []api.Row {
	people := []api.Option{api.Alias("participants", "participantIds"), api.Alias("userIds", "participantIds"), api.Alias("userId", "participantIds")}
	rows := []api.Row{
		api.Op("POST /conversations/single", "conversation:single", api.RoleUser, api.TierWrite, s.Single,
			api.Alias("participantId", "recipientId"), api.Doc("Open the conversation with one person, creating it the first time.")),
		api.Op("POST /conversations/group", "conversation:group", api.RoleUser, api.TierWrite, s.Group, append(people, api.Doc("Create a group; the creator is its admin."))...),
		api.Op("", "conversation:list", api.RoleUser, api.TierRead, s.List, api.Doc("My conversations, the liveliest first.")),
		api.Op("", "conversation:get", api.RoleUser, api.TierRead, s.Conversation, api.Doc("One conversation.")),
		api.Op("PUT /conversations/{conversationId}", "conversation:update", api.RoleUser, api.TierWrite, s.Update, api.Doc("Change name, description or picture.")),
		api.Op("DELETE /conversations/{conversationId}", "conversation:delete", api.RoleUser, api.TierWrite, s.DeleteConversation, api.Doc("Delete a group one administers; hide and clear a single conversation for oneself.")),
		api.Op("GET /conversations/{conversationId}/participants", "conversation:participants", api.RoleUser, api.TierRead, s.Participants, api.Doc("Who is in the conversation.")),
		api.Op("PUT /conversations/{conversationId}/participants", "conversation:participants:add", api.RoleUser, api.TierWrite, s.Add, append(people, api.Doc("Add people to a group."))...),
		api.Op("DELETE /conversations/{conversationId}/participants/{participantId}", "conversation:participants:remove", api.RoleUser, api.TierWrite, s.Remove, api.Doc("Remove somebody from a group, or oneself.")),
		api.Op("PUT /conversations/{conversationId}/admins/{participantId}", "conversation:promote", api.RoleUser, api.TierWrite, s.Promote, api.Doc("Make a member an admin of the group.")),
		api.Op("DELETE /conversations/{conversationId}/admins/{participantId}", "conversation:demote", api.RoleUser, api.TierWrite, s.Demote, api.Doc("Make an admin an ordinary member.")),
		api.Op("POST /conversations/{conversationId}/leave", "conversation:leave-group", api.RoleUser, api.TierWrite, s.Leave, api.OK, api.Doc("Leave a group.")),
		api.Op("PUT /conversations/{conversationId}/read", "conversation:read", api.RoleUser, api.TierWrite, s.Read, api.Doc("Mark as read up to a message, or to the end.")),
		api.Op("PUT /conversations/read-all", "conversation:read-all", api.RoleUser, api.TierWrite, s.ReadAll, api.Doc("Mark everything as read.")),
		api.Op("GET /conversations/unread/count", "conversation:unread", api.RoleUser, api.TierRead, s.Unread, api.Doc("How many messages are unread in the conversations of the list.")),
		api.Op("GET /conversations/ai-search", "conversation:ai-search", api.RoleUser, api.TierSearch, s.Recall, api.Doc("Those of my conversations that a question is about, by names, people and what was said; the server itself answers.")),
		api.Op("PUT /conversations/{conversationId}/mute", "conversation:mute", api.RoleUser, api.TierWrite, s.Mute,
			api.Alias("muted", "isMuted"), api.Doc("Mute a conversation for oneself, for a time or without end; isMuted false unmutes.")),
		api.Op("POST /conversations/{conversationId}/unmute", "conversation:unmute", api.RoleUser, api.TierWrite, s.Unmute, api.Doc("Unmute a conversation.")),
		api.Op("POST /conversations/{conversationId}/pin", "conversation:pin", api.RoleUser, api.TierWrite, s.Pin, api.Doc("Pin a conversation in one's own list.")),
		api.Op("POST /conversations/{conversationId}/unpin", "conversation:unpin", api.RoleUser, api.TierWrite, s.Unpin, api.Doc("Unpin a conversation.")),
		api.Op("POST /conversations/{conversationId}/archive", "conversation:archive", api.RoleUser, api.TierWrite, s.Archive, api.Doc("Archive a conversation for oneself; it stays archived when something is said in it.")),
		api.Op("POST /conversations/{conversationId}/unarchive", "conversation:unarchive", api.RoleUser, api.TierWrite, s.Unarchive, api.Doc("Bring a conversation back from the archive.")),
		api.Op("DELETE /conversations/{conversationId}/messages", "conversation:clear", api.RoleUser, api.TierWrite, s.Clear, api.Doc("Clear a conversation for oneself; the others keep what was said.")),
		api.Op("POST /conversations/{conversationId}/pin/{messageId}", "message:pin", api.RoleUser, api.TierWrite, s.PinMessage, api.Doc("Pin a message for all members: in a group its admins may, else both.")),
		api.Op("DELETE /conversations/{conversationId}/pin/{messageId}", "message:unpin", api.RoleUser, api.TierWrite, s.UnpinMessage, api.Doc("Unpin a message.")),
		api.Op("GET /conversations/{conversationId}/pinned", "conversation:pinned", api.RoleUser, api.TierRead, s.Pinned, api.Doc("The pinned messages one can see, the latest pin first.")),

		api.Op("POST /messages", "message:send", api.RoleUser, api.TierMessage, s.Send, api.Doc("Send a message; idempotent by clientId.")),
		api.Op("GET /messages/conversation/{conversationId}", "message:history", api.RoleUser, api.TierRead, s.History, api.Doc("A page of history, newest first.")),
		api.Op("GET /messages/search/query", "message:search", api.RoleUser, api.TierSearch, s.Find, api.Doc("Search one's own conversations.")),
		api.Op("GET /messages/{messageId}", "message:get", api.RoleUser, api.TierRead, s.Message, api.Doc("One message.")),
		api.Op("PUT /messages/{messageId}", "message:edit", api.RoleUser, api.TierWrite, s.Edit, api.Doc("Change the text of one's own message.")),
		api.Op("DELETE /messages/{messageId}", "message:delete", api.RoleUser, api.TierWrite, s.Delete, api.Doc("Delete one's own message for everyone, or any for oneself.")),
		api.Op("POST /messages/{messageId}/read", "message:read", api.RoleUser, api.TierWrite, s.ReadMessage, api.Doc("Mark everything up to a message as read.")),
	}
	return slices.Concat(rows, s.reactionRoutes(), s.versionRoutes(), s.mentionRoutes(), s.disappearingRoutes(), s.transcriptRoutes(), s.viewing(), s.webRoutes(), s.searchRoutes(), s.typing.routes(s))
}
