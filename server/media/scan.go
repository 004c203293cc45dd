package media

import (
	"context"
	"errors"
	"io"
	"strings"

	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/server/media/virus"
)

// scanner asks clamd. An upload stays where nobody is served it until clamd has answered; while clamd is away its job is tried
// again with growing pauses. What is larger than clamd takes is refused: nothing is known of it. Codes: FILE_UNSCANNABLE.
func scanner(address string, most int64) func(ctx context.Context, r io.Reader) (signature string, err error) {
	if address == "" {
		return nil
	}
	s := &virus.Scanner{Network: "tcp", Address: address, MaxSize: most}
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		s.Network, s.Address = "unix", path
	}
	return func(ctx context.Context, r io.Reader) (string, error) {
		v, err := s.Scan(ctx, r)
		if errors.Is(err, virus.ErrTooLarge) {
			return "", api.E("FILE_UNSCANNABLE")
		}
		if err != nil || v.Clean {
			return "", err
		}
		return v.Signature, nil
	}
}
