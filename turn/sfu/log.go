package sfu

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/pion/logging"
)

// logger hands what the libraries say to slog: their errors as warnings, everything else for debugging, because strangers can
// make them warn.
type logger struct{ log *slog.Logger }

// NewLogger implements logging.LoggerFactory.
func (l logger) NewLogger(scope string) logging.LeveledLogger {
	return scoped{l.log.With("library", scope)}
}

type scoped struct{ log *slog.Logger }

func (s scoped) Trace(string)          {}
func (s scoped) Tracef(string, ...any) {}
func (s scoped) Debug(string)          {}
func (s scoped) Debugf(string, ...any) {}
func (s scoped) Info(string)           {}
func (s scoped) Infof(string, ...any)  {}
func (s scoped) Warn(text string)      { s.log.Debug("media library", "text", text) }
func (s scoped) Warnf(format string, args ...any) {
	if s.log.Enabled(context.Background(), slog.LevelDebug) {
		s.Warn(fmt.Sprintf(format, args...))
	}
}
func (s scoped) Error(text string)                 { s.log.Warn("media library", "text", text) }
func (s scoped) Errorf(format string, args ...any) { s.Error(fmt.Sprintf(format, args...)) }
