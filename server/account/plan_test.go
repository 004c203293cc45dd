package account_test

import (
	"fmt"
	"go/ast"
	"go/constant"
	"go/parser"
	"go/token"
	"go/types"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/quckchat/quckchat/storage"
)

// scans are the queries that may look at every row of a table, by what they contain.
var scans = map[string]string{
	"u.search_key LIKE": "a part of a name can stand anywhere; twenty are given",
	"FROM invite":       "an administrator's list",
}

// TestEveryQueryAboutPeopleUsesAnIndex asks SQLite how it answers each query of the package.
func TestEveryQueryAboutPeopleUsesAnIndex(t *testing.T) {
	w := newWorld(t)
	queries := constantQueries(t)
	if len(queries) < 25 {
		t.Fatalf("found %d queries", len(queries))
	}
	for _, query := range queries {
		must(t, w.db.Read(t.Context(), func(v storage.View) error {
			rows, err := v.Query("EXPLAIN QUERY PLAN "+query, make([]any, parameters(query))...)
			if err != nil {
				return fmt.Errorf("%s: %w", query, err)
			}
			defer rows.Close()
			for rows.Next() {
				var id, parent, unused int
				var step string
				if err := rows.Scan(&id, &parent, &unused, &step); err != nil {
					return err
				}
				if strings.HasPrefix(step, "SCAN ") && !strings.Contains(step, "CONSTANT ROW") && !mayScan(query) {
					t.Errorf("%s: %s", step, query)
				}
			}
			return rows.Err()
		}))
	}
}

func mayScan(query string) bool {
	for part := range scans {
		if strings.Contains(query, part) {
			return true
		}
	}
	return false
}

var numbered = regexp.MustCompile(`\?(\d*)`)

// parameters is how many arguments a query takes.
func parameters(query string) (n int) {
	for _, m := range numbered.FindAllStringSubmatch(query, -1) {
		if at, err := strconv.Atoi(m[1]); err == nil {
			n = max(n, at)
		} else {
			n++
		}
	}
	return n
}

// constantQueries are the texts of the package that begin with SELECT, put together from their constants.
func constantQueries(t *testing.T) (queries []string) {
	t.Helper()
	set := token.NewFileSet()
	names, err := filepath.Glob("*.go")
	must(t, err)
	var files []*ast.File
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(set, name, nil, parser.SkipObjectResolution)
		must(t, err)
		files = append(files, file)
	}
	info := &types.Info{Types: map[ast.Expr]types.TypeAndValue{}}
	lax := types.Config{Error: func(error) {}} // what is imported is not looked at
	_, _ = lax.Check("account", set, files, info)
	for _, file := range files {
		ast.Inspect(file, func(n ast.Node) bool {
			expr, ok := n.(ast.Expr)
			if value := info.Types[expr].Value; ok && value != nil && value.Kind() == constant.String {
				text := constant.StringVal(value)
				if strings.HasPrefix(text, "SELECT ") && strings.Contains(text, " FROM ") && !strings.HasSuffix(text, "(") {
					queries = append(queries, text)
				}
				return false // its parts are no queries
			}
			return true
		})
	}
	return queries
}
