package storage_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

var (
	createsTable = regexp.MustCompile(`(?i)\bCREATE\s+(?:VIRTUAL\s+)?TABLE\s+(?:IF\s+NOT\s+EXISTS\s+)?(\w+)`)
	changesTable = regexp.MustCompile(`\b(?:INSERT\s+INTO|REPLACE\s+INTO|DELETE\s+FROM|UPDATE)\s+(\w+)\b(?:\s+(SET|AS))?`)
)

// TestEveryTableIsChangedByItsOwnerOnly holds the rule "reads are shared, writes are owned": the first line of a
// migration names the package that owns its tables, and SQL that changes them stands in that package alone.
func TestEveryTableIsChangedByItsOwnerOnly(t *testing.T) {
	owners, seen := map[string]string{}, map[string]bool{}
	walk(t, ".sql", func(path, text string) {
		if filepath.Base(path) == "schema.sql" {
			return
		}
		first, _, _ := strings.Cut(text, "\n")
		owner, ok := strings.CutPrefix(first, "-- owner: ")
		if !ok {
			t.Errorf("%s: the first line does not name the owner", path)
		}
		for _, m := range createsTable.FindAllStringSubmatch(text, -1) {
			if other := owners[m[1]]; other != "" && other != owner {
				t.Errorf("%s: table %s belongs to %s already", path, m[1], other)
			}
			owners[m[1]] = owner
		}
	})
	walk(t, ".go", func(path, text string) {
		if strings.HasSuffix(path, "_test.go") {
			return
		}
		files := token.NewFileSet()
		file, err := parser.ParseFile(files, path, text, parser.SkipObjectResolution)
		if err != nil {
			t.Error(err)
			return
		}
		here, _ := filepath.Rel("..", filepath.Dir(path))
		ast.Inspect(file, func(n ast.Node) bool {
			literal, ok := n.(*ast.BasicLit)
			if !ok || literal.Kind != token.STRING {
				return true
			}
			statement, err := strconv.Unquote(literal.Value)
			if err != nil {
				t.Error(err)
			}
			for _, table := range changed(statement) {
				at := files.Position(literal.Pos())
				switch owner := owners[table]; owner {
				case here:
					seen[table] = true
				case "":
					if table == "sqlite_dbpage" && here == "storage" {
						continue // no table, but the pages of the file
					}
					t.Errorf("%s:%d changes %s, which no migration makes", path, at.Line, table)
				default:
					t.Errorf("%s:%d changes %s, which belongs to %s", path, at.Line, table, owner)
				}
			}
			return true
		})
	})
	for _, table := range []string{"event", "job", "audit"} {
		if !seen[table] {
			t.Errorf("no statement that changes %s was found: does this test still look in the right place?", table)
		}
	}
}

// changed returns the tables that a statement changes.
func changed(statement string) (tables []string) {
	for _, m := range changesTable.FindAllStringSubmatch(statement, -1) {
		if m[1] == "SET" || strings.HasPrefix(m[0], "UPDATE") && m[2] == "" {
			continue // ON CONFLICT DO UPDATE SET, or a sentence
		}
		tables = append(tables, m[1])
	}
	return tables
}

func TestChangesAreRecognised(t *testing.T) {
	for statement, want := range map[string]string{
		"INSERT INTO a (x) VALUES (1) ON CONFLICT (x) DO UPDATE SET y = 1":     "a",
		"UPDATE a SET x = 1 WHERE y IN (SELECT z FROM b)":                      "a",
		"UPDATE a AS t SET x = 1":                                              "a",
		"\n\t\tDELETE\n\t\tFROM a WHERE x":                                     "a",
		"WITH w AS (SELECT 1) INSERT INTO a SELECT * FROM w; DELETE FROM b":    "a b",
		"SELECT deleted_at, updated_at FROM a WHERE kind = 'UPDATE everybody'": "",
		"DELETE /messages/{messageId}":                                         "",
	} {
		if got := strings.Join(changed(statement), " "); got != want {
			t.Errorf("%q changes %q, not %q", statement, got, want)
		}
	}
}

// walk gives fn every file of the module with the suffix that may hold or use tables of the main database.
func walk(t *testing.T, suffix string, fn func(path, text string)) {
	t.Helper()
	for _, root := range []string{"../server", "../storage", "../cmd", "../tui", "../turn"} {
		err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
			switch {
			case os.IsNotExist(err):
				return nil // not written yet, or gone while others work
			case err != nil:
				return err
			case entry.IsDir() && (entry.Name() == "testdata" || entry.Name() == "node_modules"):
				return fs.SkipDir
			case entry.IsDir() || !strings.HasSuffix(path, suffix):
				return nil
			}
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			fn(path, string(text))
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
}
