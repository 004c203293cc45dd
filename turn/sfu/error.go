package sfu

import (
	"errors"
	"fmt"
)

// What the operations of this package return, wrapped with what was being done. CapacityError is the type of ErrCapacity.
var (
	ErrClosed   = errors.New("closed")                              // the server, room or peer is gone
	ErrExists   = errors.New("exists already")                      // a room or peer of that name
	ErrName     = errors.New("not a usable name")                   // see Room.Join
	ErrRoomFull = errors.New("the room is full")                    // Limits.Peers
	ErrTracks   = errors.New("too many tracks")                     // Limits.Tracks
	ErrCapacity = errors.New("no capacity")                         // the server could not keep up for those who are there
	ErrGlare    = errors.New("an offer of the server is under way") // roll back, answer that one, then offer again
	ErrStale    = errors.New("no longer expected")                  // an answer to no offer, or to an old one
	ErrSDP      = errors.New("not an acceptable session description")
	ErrBusy     = errors.New("too many signals are waiting")
	ErrNotFound = errors.New("not found") // a track or peer that is not in the room
)

// CapacityError tells which limit refused somebody. It matches ErrCapacity.
type CapacityError struct {
	What  string  // "packets", "uplink" or "cpu"
	Used  float64 // packets/s, bit/s, or cores, now
	Need  float64 // what would come on top, in the same unit
	Limit float64
}

func (e *CapacityError) Error() string {
	return fmt.Sprintf("no capacity: %s at %.0f, %.0f more would exceed %.0f", e.What, e.Used, e.Need, e.Limit)
}

// Is makes errors.Is(err, ErrCapacity) true.
func (e *CapacityError) Is(target error) bool { return target == ErrCapacity }
