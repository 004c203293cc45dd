package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"testing"
)

// The generator and the bare hub, in one process: schedule, sockets, frames and ledger fit together.
func TestABareHubDeliversEachMessageToEachMemberOnce(t *testing.T) {
	hub := &floorHub{register: make(chan *floorPeer), unregister: make(chan *floorPeer), broadcast: make(chan []byte, 256), size: 600, done: make(chan struct{})}
	go hub.run()
	defer close(hub.done)
	server := httptest.NewServer(http.HandlerFunc(hub.serve))
	defer server.Close()
	loop, err := newLoop()
	if err != nil && runtime.GOOS != "linux" {
		t.Skip("the generator reads its sockets with epoll: ", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer loop.close()
	to := netip.MustParseAddrPort(strings.TrimPrefix(server.URL, "http://"))
	crowd := newCrowd(context.Background(), loop, to, make([]*account, 10))
	crowd.resumes = false
	defer crowd.close()
	if err := crowd.connectAll(recovery); err != nil {
		t.Fatal(err)
	}
	everybody := &room{id: "r"}
	for i := range crowd.clients {
		everybody.members = append(everybody.members, i)
	}
	everybody.senders = everybody.members
	b := &bench{}
	out, book, err := b.run(t.Context(), &target{name: "hub", pid: os.Getpid(), crowd: crowd}, offer{rooms: []*room{everybody}, rate: 1000, count: 200})
	if err != nil {
		t.Fatal(err)
	}
	if err := book.audit(); err != nil || out.deliveries != 2000 || !out.settled || out.drops != 0 {
		t.Errorf("%d deliveries, settled %v, %d dropped, audit says %v", out.deliveries, out.settled, out.drops, err)
	}
	if size := crowd.frameSize.Load(); size != 600 {
		t.Errorf("a frame has %d bytes, want 600", size)
	}
	if out.cpu <= 0 {
		t.Error("no CPU time was measured")
	}
}
