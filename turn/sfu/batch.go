package sfu

import "net"

// batch is the UDP socket as ICE gets it.
type batch struct {
	net.PacketConn
	local net.Addr
}

func newBatch(c net.PacketConn) *batch { return &batch{c, standIn(c.LocalAddr())} }

// LocalAddr implements net.PacketConn with the address that ICE agents know.
func (b *batch) LocalAddr() net.Addr { return b.local }
