package api

// Dialect is a family of shipped clients. Domain code speaks DialectMobile; the edge translates for the others.
type Dialect int

// The dialects (contract, section 0).
const (
	DialectMobile  Dialect = iota // references are objects, and every object has _id and id
	DialectWeb                    // ids are strings beside the objects; socket events come wrapped
	DialectFlutter                // as the web, but what a message replies to is an id, and some answers come wrapped
)

// String names the family, for the reference.
func (d Dialect) String() string {
	return [...]string{"the phone app", "the web client", "the Flutter client"}[d]
}

// Viewer is a value that another family of clients is shown differently. Nil means that they are not told.
type Viewer interface{ View(d Dialect) any }

// View is the form of a value in a dialect.
func View(value any, d Dialect) any {
	if v, ok := value.(Viewer); ok && d != DialectMobile {
		return v.View(d)
	}
	return value
}
