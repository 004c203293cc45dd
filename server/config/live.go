package config

import (
	"reflect"
	"sync"
	"sync/atomic"
)

// Live is the settings in force. Its methods may be called from any goroutine.
type Live struct {
	current atomic.Pointer[Snapshot]
	reload  sync.Mutex // one Reload at a time; readers never wait for it
}

// NewLive puts a snapshot in force.
func NewLive(s *Snapshot) *Live {
	l := &Live{}
	l.current.Store(s)
	return l
}

// Fixed puts a Config in force that came from nowhere, for tests and tools; nothing can be explained about it.
func Fixed(c Config) *Live { return NewLive(&Snapshot{Config: c}) }

// Get returns the settings in force. Ask again for each piece of work rather than keeping it.
func (l *Live) Get() *Config { return &l.current.Load().Config }

// Snapshot returns the settings in force with their origins, and the warnings of the last load.
func (l *Live) Snapshot() *Snapshot { return l.current.Load() }

// Reload loads again and puts what may change in force. It returns the keys that have changed, and those that will
// with a restart. After an error everything is as before.
func (l *Live) Reload(src Sources) (changed, notReloadable []string, err error) {
	l.reload.Lock()
	defer l.reload.Unlock()
	old := l.current.Load()
	next, err := Load(src)
	if err != nil {
		return nil, nil, err
	}
	was, is := reflect.ValueOf(&old.Config).Elem(), reflect.ValueOf(&next.Config).Elem()
	for _, s := range Settings() {
		before, after := was.FieldByIndex(s.index), is.FieldByIndex(s.index)
		switch {
		case reflect.DeepEqual(before.Interface(), after.Interface()):
		case s.Reload:
			changed = append(changed, s.Key)
		default:
			notReloadable = append(notReloadable, s.Key)
			after.Set(before)
			next.origins[s.Key] = old.origins[s.Key]
		}
	}
	if err := next.Config.Validate(); err != nil {
		return nil, nil, err
	}
	l.current.Store(next)
	return changed, notReloadable, nil
}
