package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

// Error is what a client is told: a stable code from the catalogue, and what its sentence needs.
type Error struct {
	Code    string
	Params  map[string]any
	Fields  []FieldError // which fields were wrong, for VALIDATION
	Message string       // the sentence, in the language of the person; set when the error leaves
	Status  int          // HTTP status; set when the error leaves
	usage   *Usage
}

// FieldError names a field of the input and what it must be.
type FieldError struct {
	Field       string   `json:"field"`
	Constraints []string `json:"constraints"`
}

// E makes an error from its code and the values of its sentence, given as key, value, key, value.
func E(code string, params ...any) *Error {
	e := &Error{Code: code}
	for i := 0; i+1 < len(params); i += 2 {
		if e.Params == nil {
			e.Params = map[string]any{}
		}
		e.Params[fmt.Sprint(params[i])] = params[i+1]
	}
	return e
}

// Invalid is VALIDATION for one field that no schema can check.
func Invalid(field, constraint string) *Error {
	return &Error{Code: "VALIDATION", Fields: []FieldError{{field, []string{constraint}}}}
}

// Error is for logs.
func (e *Error) Error() string {
	if len(e.Params) > 0 {
		return fmt.Sprintf("%s %v", e.Code, e.Params)
	}
	return e.Code
}

// Is compares by code.
func (e *Error) Is(target error) bool {
	var t *Error
	return errors.As(target, &t) && t.Code == e.Code
}

// HasCode reports whether err is, or wraps, the error of this code.
func HasCode(err error, code string) bool {
	var e *Error
	return errors.As(err, &e) && e.Code == code
}

// render fills in status and sentence.
func (t *Table) render(locale string, err error) *Error {
	var e *Error
	if !errors.As(err, &e) {
		e = t.public("", err)
	}
	out := *e
	entry := catalogue[e.Code]
	if entry.status == 0 {
		entry = catalogue["INTERNAL"]
	}
	out.Status, out.Message = entry.status, entry.sentence(locale, e.Params)
	return &out
}

// wireError is an Error in the form of contract 1.4, as huma sends it.
type wireError struct {
	status  int
	err     *Error
	path    string
	request string
}

type pathKey struct{}

// wire renders err for a response.
func (t *Table) wire(ctx context.Context, err error) *wireError {
	by := callerOf(ctx)
	var ready *wireError
	if errors.As(err, &ready) {
		return ready
	}
	path, _ := ctx.Value(pathKey{}).(string)
	e := t.render(by.Locale, t.public(path, err))
	return &wireError{status: e.Status, err: e, path: path, request: by.RequestID}
}

// WithPath notes the path of a request for the error form and the log.
func WithPath(ctx context.Context, path string) context.Context {
	return context.WithValue(ctx, pathKey{}, path)
}

// humaError is what huma's own refusals (binding, validation, size) become.
func (t *Table) humaError(ctx context.Context, status int, msg string, errs []error) huma.StatusError {
	for _, err := range errs {
		var ready *wireError
		if errors.As(err, &ready) {
			return ready
		}
	}
	e := E("BAD_REQUEST")
	switch status {
	case http.StatusUnprocessableEntity:
		e = E("VALIDATION")
	case http.StatusRequestEntityTooLarge:
		e = E("BODY_TOO_LARGE")
	case http.StatusUnsupportedMediaType:
		e = E("UNSUPPORTED_MEDIA_TYPE")
	case http.StatusNotAcceptable:
		e = E("NOT_ACCEPTABLE")
	case http.StatusRequestTimeout:
		e = E("BODY_TIMEOUT")
	case http.StatusInternalServerError:
		t.config.Log.Error("request failed", "error", errors.Join(errs...), "message", msg)
		e = E("INTERNAL")
	}
	for _, err := range errs {
		var d huma.ErrorDetailer
		if e.Code == "INTERNAL" || !errors.As(err, &d) {
			continue
		}
		detail := d.ErrorDetail() // its value is what the client sent and is never repeated
		if detail.Location == "body" && (strings.Contains(detail.Message, "invalid character") || strings.Contains(detail.Message, "unexpected end")) {
			return t.wire(ctx, E("BAD_REQUEST"))
		}
		e.Code = "VALIDATION"
		e.Fields = append(e.Fields, fieldError(detail))
	}
	return t.wire(ctx, e)
}

// fieldError names the field of a refusal of huma's. A missing one stands in the message there, and so does what could
// not be decoded, together with the value that was sent.
func fieldError(detail *huma.ErrorDetail) FieldError {
	if name, ok := strings.CutPrefix(detail.Message, "expected required property "); ok {
		name = strings.TrimSuffix(name, " to be present")
		if parent := fieldName(detail.Location); parent != "" && parent != "body" {
			name = parent + "." + name
		}
		return FieldError{name, []string{"is required"}}
	}
	if rest, ok := strings.CutPrefix(detail.Message, "json: cannot unmarshal "); ok {
		_, name, _ := strings.Cut(rest, "Go struct field ")
		name, _, _ = strings.Cut(name, " ")
		_, name, _ = strings.Cut(name, ".")
		return mistyped(name)
	}
	return FieldError{fieldName(detail.Location), []string{detail.Message}}
}

// mistyped is a value that fits the schema and not the field, such as a number that is too large.
func mistyped(field string) FieldError {
	return FieldError{field, []string{"is out of range or of another type"}}
}

func fieldName(location string) string {
	for _, prefix := range []string{"body.", "path.", "query.", "header."} {
		location = strings.TrimPrefix(location, prefix)
	}
	return location
}

// Error is for logs.
func (w *wireError) Error() string { return w.err.Error() }

// GetStatus is for huma.
func (w *wireError) GetStatus() int { return w.status }

// GetHeaders is for huma.
func (w *wireError) GetHeaders() http.Header { return w.headers() }

// ContentType keeps plain JSON instead of huma's problem+json.
func (w *wireError) ContentType(string) string { return "application/json" }

func (w *wireError) headers() http.Header {
	h := http.Header{}
	if u := w.err.usage; u != nil {
		h.Set("Retry-After", strconv.Itoa(retrySeconds(u.Reset)))
		h.Set("X-RateLimit-Limit", strconv.Itoa(u.Limit))
		h.Set("X-RateLimit-Remaining", "0")
		h.Set("X-RateLimit-Reset", strconv.Itoa(retrySeconds(u.Reset)))
	} else if w.status == http.StatusServiceUnavailable {
		h.Set("Retry-After", "1")
	}
	return h
}

// MarshalJSON is the error form of contract 1.4.
func (w *wireError) MarshalJSON() ([]byte, error) {
	phrase := http.StatusText(w.status)
	if w.err.Code == "VALIDATION" {
		phrase = "Validation Error"
	}
	body := struct {
		Success    bool         `json:"success"`
		StatusCode int          `json:"statusCode"`
		Error      string       `json:"error"`
		Code       string       `json:"code"`
		Message    string       `json:"message"`
		Errors     []FieldError `json:"errors,omitempty"`
		RetryAfter int          `json:"retryAfter,omitempty"`
		Path       string       `json:"path"`
		Timestamp  string       `json:"timestamp"`
		RequestID  string       `json:"requestId,omitempty"`
	}{false, w.status, phrase, w.err.Code, w.err.Message, w.err.Fields, 0, w.path, Time(time.Now()), w.request}
	if w.err.usage != nil {
		body.RetryAfter = retrySeconds(w.err.usage.Reset)
	}
	return json.Marshal(body)
}

// Time is a moment on the wire: ISO 8601, UTC, milliseconds.
func Time(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// Millis is Time for a stored value.
func Millis(ms int64) string { return Time(time.UnixMilli(ms)) }
