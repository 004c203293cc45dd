package media

import (
	"context"
	"errors"
	"io"
	"strings"

	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/server/media/virus"
)

// scanner is clamd at an address of the settings, nil for "".
func scanner(address string, most int64) *virus.Scanner {
	if address == "" {
		return nil
	}
	s := &virus.Scanner{Network: "tcp", Address: address, MaxSize: most}
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		s.Network, s.Address = "unix", path
	}
	return s
}

// scanFile reports the virus in a file, "" for none. An upload stays where nobody is served it until clamd has answered; while
// clamd is away its job is tried again with growing pauses. What is larger than clamd takes is refused: nothing is known of it.
// Codes: FILE_UNSCANNABLE.
func (s *Service) scanFile(ctx context.Context, r io.Reader) (signature string, err error) {
	v, err := s.scan.Scan(ctx, r)
	switch {
	case err == nil, errors.Is(err, virus.ErrTooLarge):
		s.scanning.beat(s.now(), nil)
	case errors.Is(err, virus.ErrUnavailable), errors.Is(err, virus.ErrProtocol):
		s.scanning.beat(s.now(), err)
	}
	if errors.Is(err, virus.ErrTooLarge) {
		return "", api.E("FILE_UNSCANNABLE")
	}
	if err != nil || v.Clean {
		return "", err
	}
	return v.Signature, nil
}
