package turn

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/pion/logging"
)

// quiet passes what pion says on to slog, all of it as debug: to pion every broken packet of a stranger is an error.
type quiet struct{ log *slog.Logger }

// NewLogger is for pion.
func (q quiet) NewLogger(string) logging.LeveledLogger { return q }

func (q quiet) say(format string, args ...any) {
	if q.log.Enabled(context.Background(), slog.LevelDebug) {
		q.log.Debug("turn: pion", "says", fmt.Sprintf(format, args...))
	}
}

func (q quiet) Trace(string)             {}
func (q quiet) Tracef(string, ...any)    {}
func (q quiet) Debug(string)             {}
func (q quiet) Debugf(string, ...any)    {}
func (q quiet) Info(m string)            { q.say("%s", m) }
func (q quiet) Infof(f string, a ...any) { q.say(f, a...) }
func (q quiet) Warn(m string)            { q.say("%s", m) }
func (q quiet) Warnf(f string, a ...any) { q.say(f, a...) }
func (q quiet) Error(m string)           { q.say("%s", m) }
func (q quiet) Errorf(f string, a ...any) {
	q.say(f, a...)
}
