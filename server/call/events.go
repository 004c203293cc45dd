package call

import "github.com/quckchat/quckchat/server/event"

// The kinds of event about calls. All but call:missed are ephemeral.
const (
	kindIncoming     = "call:incoming"
	kindJoined       = "call:participant:joined"
	kindLeft         = "call:participant:left"
	kindDeclined     = "call:participant:declined"
	kindReconnecting = "call:participant:reconnecting"
	kindReconnected  = "call:participant:reconnected"
	kindAudioToggled = "call:participant:audio-toggled"
	kindVideoToggled = "call:participant:video-toggled"
	kindRejected     = "call:rejected"
	kindEnded        = "call:ended"
	kindResume       = "call:resume"
	kindMissed       = "call:missed"

	kindHuddleStarted    = "huddle:started"
	kindHuddleOver       = "huddle:over"
	kindHuddleInvitation = "huddle:invitation"
	kindHuddleChanged    = "huddle:changed"
	kindHuddleEnded      = "huddle:ended"
	kindHuddleMuted      = "huddle:muted"
	kindHuddleKnock      = "huddle:knock"
	kindHuddleAdmitted   = "huddle:admitted"
	kindMeshEntered      = "huddle:entered"
	kindMeshExited       = "huddle:exited"
	kindMeshJoined       = "huddle:participant:joined"
	kindMeshLeft         = "huddle:participant:left"
	kindMeshOffer        = "huddle:mesh-offer"
	kindMeshAnswer       = "huddle:mesh-answer"
	kindMeshCandidate    = "huddle:mesh-candidate"
	kindMeshAudio        = "huddle:audio-toggled"
	kindMeshVideo        = "huddle:video-toggled"
	kindMeshListed       = "huddle:participants-listed"
)

// HuddleStarted is the payload of huddle:started.
type HuddleStarted struct {
	RoomID      string `json:"roomId"`
	ChatID      string `json:"chatId"`
	Type        string `json:"type"`
	InitiatorID string `json:"initiatorId"`
}

// HuddleOver is the payload of huddle:over and huddle:ended.
type HuddleOver struct {
	RoomID string `json:"roomId"`
	Reason string `json:"reason"` // ended; of huddle:ended also left, moved, lost
}

// HuddleMember is the payload of huddle:changed.
type HuddleMember struct {
	RoomID string `json:"roomId"`
	UserID string `json:"userId"`
	Left   bool   `json:"left,omitempty"`
}

// HuddleMuted is the payload of huddle:muted.
type HuddleMuted struct {
	RoomID  string `json:"roomId"`
	UserID  string `json:"userId"`
	Muted   bool   `json:"muted"`
	MutedBy string `json:"mutedBy"`
}

// HuddleKnock is the payload of huddle:knock.
type HuddleKnock struct {
	RoomID string `json:"roomId"`
	From   From   `json:"from"`
}

// HuddleAdmitted is the payload of huddle:admitted.
type HuddleAdmitted struct {
	RoomID   string `json:"roomId"`
	Admitted bool   `json:"admitted"`
}

// HuddleInvitation is the payload of huddle:invitation.
type HuddleInvitation struct {
	RoomID    string  `json:"roomId"`
	Type      string  `json:"type"`
	ChatID    *string `json:"chatId,omitempty"`
	InviterID string  `json:"inviterId"`
	From      From    `json:"from"`
	Timestamp string  `json:"timestamp"`
}

// Events are what this package tells.
func (s *Service) Events() []event.Kind {
	kinds := []event.Kind{
		{Name: kindIncoming, Doc: "Somebody calls you, on all your devices; again on each that connects while it rings.", Value: Incoming{}},
		{Name: kindJoined, Doc: "Somebody has answered; to those in the call.", Value: Member{}},
		{Name: kindLeft, Doc: "Somebody has left a call that goes on; to those in it.", Value: Member{}},
		{Name: kindDeclined, Doc: "Somebody has declined, or not answered, a call that goes on; to those in it.", Value: Member{}},
		{Name: kindReconnecting, Doc: "Somebody's device is gone, and has 30 s to come back; to those in the call.", Value: Member{}},
		{Name: kindReconnected, Doc: "It is back, and will signal anew.", Value: Member{}},
		{Name: kindAudioToggled, Doc: "Somebody's microphone was turned on or off; to the others in the call.", Value: Toggled{}},
		{Name: kindVideoToggled, Doc: "Somebody's camera was turned on or off; to the others in the call.", Value: Toggled{}},
		{Name: kindRejected, Doc: "Nobody will answer: the one called has declined, or all of them have; to the caller, and to the devices of who declined.", Value: Member{}},
		{Name: kindEnded, Doc: "The call is over for you, or for this device: hangup, declined, cancelled, timeout, failed, answered_elsewhere.", Value: Ended{}},
		{Name: kindResume, Doc: "This device is in a call and was away, or the server was: signal anew, with an ICE restart.", Value: Resume{}},
		{Name: kindMissed, Doc: "You have missed a call; also when you were away.", Value: Missed{}, Render: renderMissed},
		{Name: kindOffer, Doc: "An offer of somebody in the call, for the device that takes part; it waits until you have answered the call.", Value: Signal{}},
		{Name: kindAnswer, Doc: "The answer to your offer.", Value: Signal{}},
		{Name: kindCandidate, Doc: "An ICE candidate of somebody in the call.", Value: Signal{}},

		{Name: kindHuddleStarted, Doc: "A huddle has begun in a conversation; to its members.", Value: HuddleStarted{}},
		{Name: kindHuddleOver, Doc: "A huddle of a conversation is over; to its members.", Value: HuddleOver{}},
		{Name: kindHuddleInvitation, Doc: "Somebody invites you to a huddle.", Value: HuddleInvitation{}},
		{Name: kindHuddleChanged, Doc: "Somebody has come to the huddle, or left it; to those in it.", Value: HuddleMember{}},
		{Name: kindHuddleEnded, Doc: "The huddle is over for this device: ended, left, moved to another device, lost.", Value: HuddleOver{}},
		{Name: kindHuddleMuted, Doc: "A moderator has muted somebody, or lets them speak again; to all in the huddle.", Value: HuddleMuted{}},
		{Name: kindHuddleKnock, Doc: "Somebody asks to be let in; to those in the huddle.", Value: HuddleKnock{}},
		{Name: kindHuddleAdmitted, Doc: "You were let in, or sent away.", Value: HuddleAdmitted{}},
		{Name: kindMeshEntered, Doc: "This device is in the mesh of the huddle.", Value: MeshRoom{}},
		{Name: kindMeshExited, Doc: "This device has left the mesh.", Value: MeshRoom{}},
		{Name: kindMeshJoined, Doc: "Somebody has entered the mesh; to those in it.", Value: MeshMember{}},
		{Name: kindMeshLeft, Doc: "Somebody has left the mesh.", Value: MeshMember{}},
		{Name: kindMeshOffer, Doc: "An offer of somebody in the mesh.", Value: MeshSignal{}},
		{Name: kindMeshAnswer, Doc: "The answer to your offer in the mesh.", Value: MeshSignal{}},
		{Name: kindMeshCandidate, Doc: "An ICE candidate of somebody in the mesh.", Value: MeshSignal{}},
		{Name: kindMeshAudio, Doc: "Somebody's microphone was turned on or off; to the others in the huddle.", Value: MeshToggled{}},
		{Name: kindMeshVideo, Doc: "Somebody's camera was turned on or off; to the others in the huddle.", Value: MeshToggled{}},
		{Name: kindMeshListed, Doc: "Who is in the mesh, when you have asked.", Value: MeshPeople{}},
	}
	return append(kinds, sfuEvents()...)
}
