package config

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/spf13/pflag"
)

// FileName is the name of the configuration file inside the data directory.
const FileName = "quckchat.toml"

// The layers, weakest first.
const (
	LayerDefault = "default"
	LayerFile    = "file"
	LayerStored  = "stored"
	LayerEnv     = "env"
	LayerFlag    = "flag"
)

// Sources are where settings are read from. The zero value reads quckchat.toml in ./data, if there is one.
type Sources struct {
	File   string            // the file when neither --config nor QUCKCHAT_CONFIG names one; empty means the one in the data directory
	Stored map[string]string // by key, from the database
	Env    []string          // NAME=value, as from os.Environ
	Flags  *pflag.FlagSet    // parsed, from RegisterFlags; may be nil or have other flags too
}

// Snapshot is the settings as they were loaded, and where each came from. It does not change.
type Snapshot struct {
	Config   Config
	Warnings []string // sentences for the log

	origins map[string]Origin
}

// Origin is the value of a setting and the layer that set it.
type Origin struct {
	Key    string `json:"key"`
	Value  string `json:"value"` // of a secret: empty, or (redacted)
	Layer  string `json:"layer"`
	Locked bool   `json:"locked"` // fixed by env or flag: storing another value changes nothing
}

// Explain returns where the value of a setting came from, the zero Origin for an unknown key.
func (s *Snapshot) Explain(key string) Origin { return s.origins[key] }

// RegisterFlags adds a flag for every setting.
func RegisterFlags(fs *pflag.FlagSet) {
	for _, s := range Settings() {
		fs.Var(&flagValue{text: s.Default, kind: s.kind}, s.Flag, s.Help+" ("+s.Env+")")
	}
}

// flagValue keeps what was given; Load reads it, to report everything that is wrong at once.
type flagValue struct {
	text string
	kind reflect.Type
}

func (f *flagValue) String() string        { return f.text }
func (f *flagValue) Set(text string) error { f.text = text; return nil }
func (f *flagValue) Type() string {
	switch reflect.Zero(f.kind).Interface().(type) {
	case bool:
		return "on|off"
	case Bytes:
		return "size"
	case []string:
		return "list"
	}
	return strings.ToLower(f.kind.Name())
}

// Load reads all layers. The error has one line for each thing that is wrong.
func Load(src Sources) (*Snapshot, error) {
	l, err := read(src)
	if err != nil {
		return nil, err
	}
	snap := &Snapshot{}
	snap.origins, snap.Warnings, err = resolve(Settings(), reflect.ValueOf(&snap.Config).Elem(), l)
	if err != nil {
		return nil, err
	}
	if snap.Config.File == "" {
		snap.Config.File = l.path
		snap.origins["config"] = Origin{Key: "config", Value: l.path, Layer: LayerDefault}
	}
	if err := snap.Config.conflicts(); err != nil {
		return nil, err
	}
	return snap, nil
}

// layers are the sources as texts by name.
type layers struct {
	path   string            // the file that was read, empty when there is none
	file   map[string]string // by key
	stored map[string]string // by key
	env    map[string]string // by variable
	flags  *pflag.FlagSet
}

func newLayers(src Sources) *layers {
	l := &layers{stored: src.Stored, env: map[string]string{}, flags: src.Flags}
	for _, pair := range src.Env {
		name, value, _ := strings.Cut(pair, "=")
		l.env[name] = value
	}
	return l
}

// Path returns the file that Load reads. One that was named must exist; the other is the one in the data directory.
func (src Sources) Path() (path string, named bool) {
	l := newLayers(src)
	if path = l.early("config", src.File); path != "" {
		return path, true
	}
	return filepath.Join(l.early("data", ""), FileName), false
}

// read finds and reads the file.
func read(src Sources) (*layers, error) {
	l := newLayers(src)
	path, named := src.Path()
	b, err := os.ReadFile(path)
	if !named && errors.Is(err, fs.ErrNotExist) {
		return l, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the configuration file: %w", err)
	}
	if l.file, err = parseFile(b); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	l.path = path
	return l, nil
}

// early returns a setting that is needed before the file can be read.
func (l *layers) early(key, otherwise string) string {
	s, _ := lookup(Settings(), key)
	for _, g := range slices.Backward(l.given(s)) {
		if g.layer == LayerEnv || g.layer == LayerFlag {
			return g.text
		}
	}
	if otherwise != "" {
		return otherwise
	}
	return s.Default
}

// parseFile returns the values of a TOML document by their dotted keys.
func parseFile(b []byte) (map[string]string, error) {
	var document map[string]any
	if err := toml.Unmarshal(b, &document); err != nil {
		var at *toml.DecodeError
		if errors.As(err, &at) {
			line, column := at.Position()
			return nil, fmt.Errorf("line %d, column %d: %w", line, column, err)
		}
		return nil, err
	}
	values := map[string]string{}
	flatten(values, "", document)
	return values, nil
}

func flatten(into map[string]string, prefix string, table map[string]any) {
	for key, value := range table {
		switch v := value.(type) {
		case map[string]any:
			flatten(into, prefix+key+".", v)
		case []any:
			items := make([]string, len(v))
			for i := range v {
				items[i] = fmt.Sprint(v[i])
			}
			into[prefix+key] = strings.Join(items, ",")
		default:
			into[prefix+key] = fmt.Sprint(v)
		}
	}
}

// given is what one layer says about a setting.
type given struct {
	layer, where, text string
}

// given returns what the layers say about a setting, weakest first.
func (l *layers) given(s *Setting) []given {
	all := []given{{LayerDefault, "default", s.Default}}
	if text, ok := l.file[s.Key]; ok {
		all = append(all, given{LayerFile, l.path, text})
	}
	if text, ok := l.stored[s.Key]; ok && s.Stored {
		all = append(all, given{LayerStored, "stored", text})
	}
	if text := l.env[s.Env]; text != "" {
		all = append(all, given{LayerEnv, s.Env, text})
	}
	if l.flags != nil && l.flags.Changed(s.Flag) {
		all = append(all, given{LayerFlag, "--" + s.Flag, l.flags.Lookup(s.Flag).Value.String()})
	}
	return all
}

// resolve sets the fields of target from the layers.
func resolve(all []Setting, target reflect.Value, l *layers) (map[string]Origin, []string, error) {
	origins := map[string]Origin{}
	warnings, errs := l.unknown(all)
	for i := range all {
		s := &all[i]
		for _, g := range l.given(s) {
			getenv := func(name string) string { return l.env[name] }
			if g.layer == LayerStored {
				getenv = nil
			}
			v, err := s.value(g.text, getenv)
			switch {
			case err != nil && g.layer == LayerStored:
				warnings = append(warnings, fmt.Sprintf("a stored setting is ignored: %v", err))
			case err != nil:
				errs = append(errs, fmt.Errorf("%s: %w", g.where, err))
			default:
				target.FieldByIndex(s.index).Set(v)
				origins[s.Key] = Origin{Key: s.Key, Value: s.show(v), Layer: g.layer, Locked: g.layer == LayerEnv || g.layer == LayerFlag}
			}
		}
	}
	return origins, warnings, errors.Join(errs...)
}

// unknown finds names that no setting has.
func (l *layers) unknown(all []Setting) (warnings []string, errs []error) {
	for _, key := range slices.Sorted(maps.Keys(l.file)) {
		if s, err := lookup(all, key); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", l.path, err))
		} else if !s.InFile {
			errs = append(errs, fmt.Errorf("%s: %s cannot stand in the file: use --%s or %s", l.path, key, s.Flag, s.Env))
		}
	}
	for _, key := range slices.Sorted(maps.Keys(l.stored)) {
		if s, err := lookup(all, key); err != nil || !s.Stored {
			warnings = append(warnings, "a stored setting is ignored: "+key)
		}
	}
	var names []string
	for i := range all {
		names = append(names, all[i].Env)
	}
	for _, name := range slices.Sorted(maps.Keys(l.env)) {
		if strings.HasPrefix(name, envPrefix) && !slices.Contains(names, name) {
			warnings = append(warnings, "unknown variable "+name+suggest(name, names))
		}
	}
	return warnings, errs
}
