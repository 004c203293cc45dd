package media

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/quckchat/quckchat/server/media/virus"
	"github.com/quckchat/quckchat/server/outbound"
	"github.com/quckchat/quckchat/storage/blob"
)

// What stands outside of the server and works on files is optional: the virus scanner, the bucket, the provider of GIFs, what
// makes text of speech. How each of them does is known from what it was last asked; the first two, without which no upload can
// be fetched, are asked once a minute as well. Nobody else is asked without need.

// The states of an integration.
const (
	IntegrationUp      = "up"
	IntegrationDown    = "down"
	IntegrationOpen    = "open"    // left alone for a while, after failures
	IntegrationUnknown = "unknown" // was not asked since the start
)

// Integration is how something outside does.
type Integration struct {
	Name   string // clamav, s3, gifs, transcription
	Needed bool   // without it no upload can be fetched
	Status string
	Since  time.Time // zero when unknown
	Places []string  // host:port of those that are left alone, at most ten
	Until  time.Time // when Open: the next request after it is a trial

	Kind      string    // of the last error: no answer, refused, error. "" when there was none
	Problem   string    // the last error, for administrators: it holds no secret, but may name hosts and paths
	ProblemAt time.Time // of the last error
}

// pulse follows something outside. The zero value knows nothing.
type pulse struct {
	mu      sync.Mutex
	known   bool
	down    bool
	since   time.Time
	problem error
	at      time.Time
}

// beat notes how a request has ended: nil is that it works.
func (p *pulse) beat(now time.Time, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if down := err != nil; !p.known || down != p.down {
		p.known, p.down, p.since = true, down, now
	}
	if err != nil {
		p.problem, p.at = err, now
	}
}

// failing is what it fails with now, nil when it works or is not known.
func (p *pulse) failing() (at time.Time, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.down {
		return at, nil
	}
	return p.at, p.problem
}

const (
	placesMax  = 10
	problemMax = 300 // bytes
)

// integration is the pulse as it is shown, with what the clients that asked have left alone.
func (p *pulse) integration(name string, needed bool, clients ...*outbound.Client) Integration {
	p.mu.Lock()
	out := Integration{Name: name, Needed: needed, Status: IntegrationUnknown, Since: p.since, ProblemAt: p.at}
	if p.known {
		out.Status = IntegrationUp
	}
	if p.down {
		out.Status = IntegrationDown
	}
	if p.problem != nil {
		text := p.problem.Error()
		out.Problem, out.Kind = text[:min(len(text), problemMax)], problemKind(p.problem)
	}
	p.mu.Unlock()
	for _, client := range clients {
		for _, host := range client.State() {
			if !host.Open || !time.Now().Before(host.Until) {
				continue
			}
			if out.Status = IntegrationOpen; len(out.Places) < placesMax && !slices.Contains(out.Places, host.Place) {
				out.Places = append(out.Places, host.Place)
			}
			if host.Until.After(out.Until) {
				out.Until = host.Until
			}
		}
	}
	return out
}

// problemKind says what kind of error it is to those who are to know no more.
func problemKind(err error) string {
	switch {
	case errors.Is(err, outbound.ErrUnavailable), errors.Is(err, virus.ErrUnavailable), errors.Is(err, blob.ErrUnavailable):
		return "no answer"
	case errors.Is(err, blob.ErrRefused), errors.Is(err, outbound.ErrForbidden):
		return "refused"
	}
	return "error"
}

// Integrations are those that are configured.
func (s *Service) Integrations() []Integration {
	var list []Integration
	if s.scan != nil {
		list = append(list, s.scanning.integration("clamav", true))
	}
	if s.inBucket() {
		list = append(list, s.bucket.integration("s3", true))
	}
	if s.gifs.on() {
		list = append(list, s.gifs.pulse.integration("gifs", false, s.gifs.api, s.gifs.files))
	}
	if s.CanTranscribe() {
		list = append(list, s.speech.pulse.integration("transcription", false, s.speech.clients()...))
	}
	return list
}

// inBucket reports whether files are in a bucket.
func (s *Service) inBucket() bool { return s.config.Get().S3.Endpoint != "" }

// checkTimeout is how long one that is asked whether it is there may take to say so.
const checkTimeout = 20 * time.Second

// checkIntegrations asks those without which no upload can be fetched. What is wrong is noted, and no error.
func (s *Service) checkIntegrations(ctx context.Context) error {
	var checks sync.WaitGroup
	ask := func(p *pulse, fn func(ctx context.Context) error) {
		checks.Go(func() {
			limited, cancel := context.WithTimeout(ctx, checkTimeout)
			defer cancel()
			err := fn(limited)
			if ctx.Err() != nil {
				return
			}
			if errors.Is(err, context.DeadlineExceeded) {
				err = fmt.Errorf("%w in %v", outbound.ErrUnavailable, checkTimeout)
			}
			p.beat(s.now(), err)
		})
	}
	if s.scan != nil {
		ask(&s.scanning, s.scan.Ping)
	}
	if s.inBucket() {
		ask(&s.bucket, s.blobs.Check)
	}
	checks.Wait()
	return nil
}
