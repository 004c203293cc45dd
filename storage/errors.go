package storage

import (
	"errors"
	"fmt"
	"net/url"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// Error is a failure of the store that a caller may have to tell apart. Its code is stable.
type Error struct {
	code, text string
	cause      error
}

func (e *Error) Error() string {
	if e.cause != nil {
		return e.text + ": " + e.cause.Error()
	}
	return e.text
}

// Code is the stable machine code.
func (e *Error) Code() string { return e.code }

// Unwrap returns the driver's error.
func (e *Error) Unwrap() error { return e.cause }

// Is compares by code, so that errors.Is works with the values below.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.code == e.code
}

// The failures that callers tell apart.
var (
	ErrFull       = &Error{code: "STORAGE_FULL", text: "the disk is full"}
	ErrFailed     = &Error{code: "STORAGE_FAILED", text: "the database cannot be written"}
	ErrOverloaded = &Error{code: "OVERLOADED", text: "too many writes are waiting"}
	ErrClosed     = &Error{code: "SHUTTING_DOWN", text: "the database is closed"}
	ErrConstraint = &Error{code: "CONSTRAINT", text: "a constraint of the database was violated"}
)

// mapError wraps an error of the driver in an Error, by its code; others pass unchanged.
func mapError(err error) error {
	var de *sqlite.Error
	if err == nil || !errors.As(err, &de) {
		return err
	}
	var known *Error
	if errors.As(err, &known) {
		return err // mapped already
	}
	switch de.Code() & 0xff {
	case sqlite3.SQLITE_FULL:
		return &Error{code: ErrFull.code, text: ErrFull.text, cause: err}
	case sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return &Error{code: ErrFailed.code, text: ErrFailed.text, cause: err}
	case sqlite3.SQLITE_CONSTRAINT:
		return &Error{code: ErrConstraint.code, text: ErrConstraint.text, cause: err}
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		return &Error{code: ErrOverloaded.code, text: "the database is busy", cause: err}
	}
	return fmt.Errorf("sqlite: %w", err)
}

// needsReopen reports whether the write connection cannot be trusted after err.
func needsReopen(err error) bool { return errors.Is(err, ErrFailed) }

// pathEscaper makes a path safe inside a file: URI.
type pathEscaper struct{ path string }

func (p *pathEscaper) String() string { return (&url.URL{Path: p.path}).EscapedPath() }
