package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Commented returns a configuration file in which every setting is commented out, with its default.
func Commented() string {
	var b strings.Builder
	b.WriteString("# Configuration of QuckChat. What is commented out has the value shown; remove the # to change it.\n" +
		"# A variable (QUCKCHAT_...) or a flag wins over this file. See docs/configuration.md.\n")
	section := ""
	for _, s := range Settings() {
		if !s.InFile {
			continue
		}
		name := s.Key
		if dot := strings.LastIndex(s.Key, "."); dot >= 0 {
			if name = s.Key[dot+1:]; s.Key[:dot] != section {
				section = s.Key[:dot]
				fmt.Fprintf(&b, "\n[%s]\n", section)
			}
		}
		fmt.Fprintf(&b, "\n# %s\n# %s = %s\n", strings.Join(s.sentences(s.Env+"."), "\n# "), name, s.literal())
	}
	return b.String()
}

// literal spells the default in TOML.
func (s *Setting) literal() string {
	v, err := parse(s.kind, s.Default)
	if err != nil {
		panic("config: the default of " + s.Key + " is of another kind")
	}
	switch value := v.Interface().(type) {
	case bool, int:
		return fmt.Sprint(value)
	case []string:
		items := make([]string, len(value))
		for i := range value {
			items[i] = strconv.Quote(value[i])
		}
		return "[" + strings.Join(items, ", ") + "]"
	}
	return strconv.Quote(s.Default)
}

// Reference returns docs/configuration.md.
func Reference() string {
	var b strings.Builder
	b.WriteString(`# Configuration

<!-- Made from the tags in server/config/config.go: go test ./server/config -update -->

QuckChat needs no configuration. What is set comes, the later winning over the earlier, from

1. the default,
2. the file: ` + "`--config`, `QUCKCHAT_CONFIG`, or `quckchat.toml`" + ` in the data directory, if there is one,
3. the database, where the console stores what an administrator changed; only settings marked with * can be stored,
4. the environment (an empty variable counts as not set),
5. the flags of ` + "`quckchat serve`" + `.

A setting that the environment or a flag fixes is locked in the console. An unknown key in the file is an error, an
unknown ` + "`QUCKCHAT_`" + ` variable a warning. In the file, ` + "`socket.queue`" + ` is the key ` + "`queue`" + ` of the table ` + "`[socket]`" + `.

` + "`quckchat config init`" + ` writes a commented file. ` + "`quckchat config explain`" + ` shows each value and what set it.

A duration is written ` + "`25s`, `15m`, `24h`" + `; a size ` + "`100KiB`, `10MiB`" + `; a list with commas, in the file also as an array. The
flag of a setting is its key with dashes: ` + "`--socket-max-per-user`" + `. A running server reads the settings marked with *
again on SIGHUP, without dropping a connection; the others need a restart.
`)
	if slices.ContainsFunc(Settings(), func(s Setting) bool { return s.Secret }) {
		b.WriteString("\nA secret is never shown. It may be a reference: `file:/path` or `env:NAME`.\n")
	}
	b.WriteString("\n| key | variable | default | |\n|---|---|---|---|\n")
	for _, s := range Settings() {
		key, standard := "`"+s.Key+"`", "`"+s.Default+"`"
		if s.Reload {
			key += " *"
		}
		if s.Default == "" {
			standard = ""
		}
		fmt.Fprintf(&b, "| %s | `%s` | %s | %s |\n", key, s.Env, standard, strings.Join(s.sentences(), " "))
	}
	return b.String()
}

// sentences explain a setting.
func (s *Setting) sentences(more ...string) []string {
	text := []string{s.Help + "."}
	if wants := s.wants(); wants != "" {
		text = append(text, "Write "+wants+".")
	}
	return append(text, more...)
}
