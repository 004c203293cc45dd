package media

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/storage"
)

// GIFs are searched at GIPHY or Tenor by the server (gifprovider.go), so that the provider learns what is searched and never
// by whom. Each picture is answered with an address here, at which the server fetches it when somebody looks (gifcache.go),
// and becomes an upload of the one who sends it (gifsend.go). Without gifs.provider nothing is found, and nothing is asked.

// GIF is a moving picture or sticker of the provider (GiphyGif of contract 3.15). All its addresses are here.
type GIF struct {
	ID     string    `json:"id"`
	Title  string    `json:"title"`
	URL    string    `json:"url"` // that of the original, not of the provider's page
	Images GIFImages `json:"images"`
}

// GIFImages are the sizes of a GIF. One that the provider does not have is the next best.
type GIFImages struct {
	FixedHeight      GIFImage `json:"fixed_height"`
	FixedWidth       GIFImage `json:"fixed_width"`
	FixedHeightSmall GIFImage `json:"fixed_height_small"`
	Original         GIFImage `json:"original"`
	PreviewGIF       GIFImage `json:"preview_gif"`
}

// each calls fn for every size.
func (i *GIFImages) each(fn func(*GIFImage)) {
	for _, image := range []*GIFImage{&i.FixedHeight, &i.FixedWidth, &i.FixedHeightSmall, &i.Original, &i.PreviewGIF} {
		fn(image)
	}
}

// GIFImage is one size. Width and height are pixels as text, as GIPHY writes them; "" where they are not known.
type GIFImage struct {
	URL    string `json:"url"`
	Width  string `json:"width"`
	Height string `json:"height"`
}

// GIFPage is an answer to a search.
type GIFPage struct {
	Success    bool      `json:"success"`
	Data       []GIF     `json:"data" nullable:"false"`
	Pagination GIFPaging `json:"pagination"`
}

// GIFPaging says where a page lies. Tenor does not tell how many there are: Total then is one more than was seen while there
// are more.
type GIFPaging struct {
	Total  int64 `json:"total"`
	Offset int   `json:"offset"`
	Limit  int   `json:"limit"`
}

// GIFsInput pages through what is popular.
type GIFsInput struct {
	Limit  int `query:"limit" default:"25" minimum:"1" doc:"more than 50 counts as 50"`
	Offset int `query:"offset" default:"0" minimum:"0" maximum:"4999"`
}

// GIFSearchInput pages through what is found.
type GIFSearchInput struct {
	Q      string `query:"q" maxLength:"200"`
	Limit  int    `query:"limit" default:"25" minimum:"1" doc:"more than 50 counts as 50"`
	Offset int    `query:"offset" default:"0" minimum:"0" maximum:"4999"`
}

const (
	gifPageMax  = 50
	gifQueryMax = 50 // characters, as GIPHY has it
	gifAnswers  = 5 * time.Minute
	gifAnswer   = time.Hour // of one by its id
	gifScope    = "g"
	gifFolder   = "gifs"
)

func (s *Service) gifRoutes() []api.Row {
	search := func(class string) func(context.Context, api.Caller, *GIFSearchInput) (GIFPage, error) {
		return func(ctx context.Context, _ api.Caller, in *GIFSearchInput) (GIFPage, error) {
			words := []rune(strings.ToLower(strings.Join(strings.Fields(strings.ToValidUTF8(in.Q, "")), " ")))
			return s.gifList(ctx, gifQuery{class: class, words: string(words[:min(len(words), gifQueryMax)]), limit: in.Limit, offset: in.Offset})
		}
	}
	trending := func(class string) func(context.Context, api.Caller, *GIFsInput) (GIFPage, error) {
		return func(ctx context.Context, _ api.Caller, in *GIFsInput) (GIFPage, error) {
			return s.gifList(ctx, gifQuery{class: class, trending: true, limit: in.Limit, offset: in.Offset})
		}
	}
	return []api.Row{
		api.Op("GET /gifs/search", "", api.RoleUser, api.TierSearch, search("gifs"), api.Doc("Search GIFs at the provider of this server; it does not learn who asks.")),
		api.Op("GET /gifs/trending", "", api.RoleUser, api.TierSearch, trending("gifs"), api.Doc("Popular GIFs.")),
		api.Op("GET /gifs/stickers/search", "", api.RoleUser, api.TierSearch, search("stickers"), api.Doc("Search animated stickers.")),
		api.Op("GET /gifs/stickers/trending", "", api.RoleUser, api.TierSearch, trending("stickers"), api.Doc("Popular animated stickers.")),
		api.Op("GET /gifs/status", "", api.RoleUser, api.TierSearch, s.GIFStatus, api.Doc("Whether GIFs can be searched, and who provides them.")),
		api.Op("GET /gifs/{id}", "", api.RoleUser, api.TierSearch, s.GIF, api.Doc("One GIF; success is false when there is none.")),
	}
}

// GIFStatus says whether GIFs can be searched.
type GIFStatus struct {
	Success    bool   `json:"success"`
	Configured bool   `json:"configured"`
	Provider   string `json:"provider,omitempty"` // giphy, tenor: whom clients have to name beside their GIFs
}

// GIFStatus asks nobody.
func (s *Service) GIFStatus(context.Context, api.Caller, *struct{}) (GIFStatus, error) {
	return GIFStatus{true, s.gifs.on(), s.gifs.provider}, nil
}

// GIFInput names a GIF as its provider does.
type GIFInput struct {
	ID string `path:"id" maxLength:"128"`
}

// OneGIF is a GIF, or why there is none.
type OneGIF struct {
	Success bool   `json:"success"`
	Data    *GIF   `json:"data,omitempty"`
	Message string `json:"message,omitempty"`
}

var gifID = regexp.MustCompile(`^[0-9A-Za-z_-]{1,64}$`)

// GIF returns one GIF by its id.
func (s *Service) GIF(ctx context.Context, _ api.Caller, in *GIFInput) (OneGIF, error) {
	missing := OneGIF{Message: "GIF not found."}
	if !s.gifs.on() || !gifID.MatchString(in.ID) {
		return missing, nil
	}
	found, err := s.gifFound(ctx, gifQuery{id: in.ID}, gifAnswer)
	if err != nil || len(found.List) == 0 {
		return missing, err
	}
	return OneGIF{Success: true, Data: &s.gifsHere(found.List)[0]}, nil
}

// gifList answers a page.
func (s *Service) gifList(ctx context.Context, q gifQuery) (GIFPage, error) {
	q.limit = min(q.limit, gifPageMax)
	page := GIFPage{Success: true, Data: []GIF{}, Pagination: GIFPaging{Offset: q.offset, Limit: q.limit}}
	if !s.gifs.on() || !q.trending && q.words == "" {
		return page, nil
	}
	found, err := s.gifFound(ctx, q, gifAnswers)
	if err != nil {
		return page, err
	}
	page.Data, page.Pagination.Total = append(page.Data, s.gifsHere(found.List)...), found.Total // never null
	return page, nil
}

// gifFound is an answer of the provider as it is remembered, with the addresses there.
type gifFound struct {
	List  []GIF `json:"list"`
	Total int64 `json:"total"`
	Until int64 `json:"until"` // unix milliseconds
}

// gifFound asks the provider, unless the answer is known. A provider that fails has found nothing.
func (s *Service) gifFound(ctx context.Context, q gifQuery, life time.Duration) (found gifFound, err error) {
	key := s.gifs.key(q)
	if s.gifs.remembered(key, s.now(), &found) {
		return found, nil
	}
	err = together(ctx, &s.gifs.asking, key, func() error {
		var answer gifFound
		if s.gifs.remembered(key, s.now(), &answer) {
			return nil
		}
		var err error
		if answer.List, answer.Total, err = s.gifs.ask(ctx, s.now, q); err != nil {
			return err
		}
		var addresses []string
		for i := range answer.List {
			answer.List[i].Images.each(func(image *GIFImage) { addresses = append(addresses, image.URL) })
		}
		if err := s.nameGIFs(ctx, addresses); err != nil {
			return err
		}
		answer.Until = s.now().Add(life).UnixMilli()
		s.gifs.remember(key, answer, life)
		found = answer
		return nil
	})
	switch {
	case isProviderError(err):
		s.gifs.failed(s.log, s.now(), err)
		return gifFound{}, nil
	case err == nil && found.Until == 0: // somebody else has asked
		s.gifs.remembered(key, s.now(), &found)
	}
	return found, err
}

// gifsHere replaces the addresses of what was found by ours.
func (s *Service) gifsHere(list []GIF) []GIF {
	now := s.now()
	for i := range list {
		list[i].Images.each(func(image *GIFImage) { image.URL = s.links.Link(s.gifPath(image.URL), gifScope, now) })
		list[i].URL = list[i].Images.Original.URL
	}
	return list
}

// gifName is the name of the picture at an address. Without the key nobody can tell from the one to the other.
func (s *Service) gifName(address string) string {
	h := hmac.New(sha256.New, s.links.key)
	h.Write([]byte("gif\n" + address))
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// gifPath is where a picture of the provider's is served here.
func (s *Service) gifPath(address string) string {
	return "/uploads/" + gifFolder + "/" + s.gifName(address) + ".gif"
}

// gifsMax is how many addresses are remembered; the oldest nobody has looked at give way.
const gifsMax = 100_000

// nameGIFs remembers what the names of pictures stand for. Names that are remembered already cost no write.
func (s *Service) nameGIFs(ctx context.Context, addresses []string) error {
	names := map[string]string{}
	for _, address := range addresses {
		names[s.gifName(address)] = address
	}
	raw, err := json.Marshal(names)
	if err != nil || len(names) == 0 {
		return err
	}
	var fresh int
	err = s.db.Read(ctx, func(v storage.View) error {
		return v.QueryRow("SELECT count(*) FROM gif WHERE name IN (SELECT key FROM json_each(?)) AND fetched_at > ?", string(raw), v.Millis()-gifTouch.Milliseconds()).Scan(&fresh)
	})
	if err != nil {
		return fmt.Errorf("find named gifs: %w", err)
	}
	if fresh == len(names) {
		return nil
	}
	return s.db.Write(ctx, "gif.name", func(tx *storage.Tx) error {
		if _, err := tx.Exec(`INSERT INTO gif (name, address, created_at, fetched_at) SELECT key, value, ?2, ?2 FROM json_each(?1) WHERE true
			ON CONFLICT (name) DO UPDATE SET fetched_at = ?2`, string(raw), tx.Millis()); err != nil {
			return fmt.Errorf("name gifs: %w", err)
		}
		var have int
		if err := tx.QueryRow("SELECT count(*) FROM gif").Scan(&have); err != nil {
			return fmt.Errorf("count gifs: %w", err)
		}
		if have <= gifsMax {
			return nil
		}
		if _, err := tx.Exec("DELETE FROM gif WHERE name IN (SELECT name FROM gif WHERE sha256 IS NULL ORDER BY fetched_at LIMIT ?)", have-gifsMax+gifsMax/10); err != nil {
			return fmt.Errorf("forget old gifs: %w", err)
		}
		return nil
	})
}
