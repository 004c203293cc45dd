package media

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/storage"
)

// Sticker is a GIF or sticker that somebody uses (contract 2.3), under the name that their client gives it.
type Sticker struct {
	MongoID      string  `json:"_id"`
	ID           string  `json:"id"`
	UserID       string  `json:"userId"`
	URL          string  `json:"url"`
	ThumbnailURL *string `json:"thumbnailUrl"`
	GiphyID      string  `json:"giphyId"`
	Title        *string `json:"title"`
	Type         string  `json:"type"` // gif, sticker
	UseCount     int64   `json:"useCount"`
	LastUsedAt   string  `json:"lastUsedAt"`
	CreatedAt    string  `json:"createdAt"`
	UpdatedAt    string  `json:"updatedAt"`
}

// stickersMax is how many one person keeps.
const stickersMax = 1000

// SaveStickerInput is what the client knows of a sticker.
type SaveStickerInput struct {
	Body struct {
		URL          string  `json:"url" maxLength:"2048"`
		GiphyID      string  `json:"giphyId" minLength:"1" maxLength:"128"`
		ThumbnailURL *string `json:"thumbnailUrl,omitempty" maxLength:"2048"`
		Title        *string `json:"title,omitempty" maxLength:"200"`
		Type         *string `json:"type,omitempty" enum:"gif,sticker" doc:"gif, the default"`
	}
}

// SavedSticker is the answer to a save.
type SavedSticker struct {
	Success bool     `json:"success"`
	Message string   `json:"message"`
	Data    *Sticker `json:"data"`
}

// stickerClaim is what keeps the upload of a sticker, and what its address is part of.
const stickerClaim = "s"

// SaveSticker keeps a sticker or counts one more use of it. Its picture is an upload of the caller's, one of a pack, or at a
// provider of GIFs. Codes: VALIDATION, STICKERS_FULL.
func (s *Service) SaveSticker(ctx context.Context, by api.Caller, in *SaveStickerInput) (*SavedSticker, error) {
	b := &in.Body
	kind := "gif"
	if b.Type != nil {
		kind = *b.Type
	}
	var thumbnail *string
	if b.Title != nil && utf8.RuneCountInString(*b.Title) > 200 {
		return nil, api.Invalid("title", "expected at most 200 characters")
	}
	var saved *Sticker
	err := s.db.Write(ctx, "sticker.save", func(tx *storage.Tx) error {
		id, now := storage.NewID(), tx.Millis()
		var have int
		if err := tx.QueryRow("SELECT count(*) FROM sticker WHERE user_id = ?1 AND giphy_id <> ?2", by.UserID, b.GiphyID).Scan(&have); err != nil {
			return fmt.Errorf("count stickers: %w", err)
		}
		if have >= stickersMax {
			return api.E("STICKERS_FULL", "max", stickersMax)
		}
		if err := tx.QueryRow("SELECT id FROM sticker WHERE user_id = ? AND giphy_id = ?", by.UserID, b.GiphyID).Scan(&id); err != nil && err != sql.ErrNoRows {
			return fmt.Errorf("find sticker: %w", err)
		}
		address, err := s.keepSticker(tx, by, id, b.URL)
		if err != nil {
			return err
		}
		if b.ThumbnailURL != nil {
			there, err := s.stickerAddress(tx, *b.ThumbnailURL)
			if err != nil {
				return err
			}
			if thumbnail = nil; there != "" {
				thumbnail = &there
			}
		}
		if _, err := tx.Exec(`INSERT INTO sticker (id, user_id, giphy_id, type, url, thumbnail_url, title, use_count, last_used_at, created_at, updated_at)
			VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 1, ?8, ?8, ?8)
			ON CONFLICT (user_id, giphy_id) DO UPDATE SET type = ?4, url = ?5, thumbnail_url = ?6, title = coalesce(?7, title), use_count = use_count + 1, last_used_at = ?8, updated_at = ?8`,
			id, by.UserID, b.GiphyID, kind, address, thumbnail, b.Title, now); err != nil {
			return fmt.Errorf("save sticker: %w", err)
		}
		list, err := stickersOf(tx, "user_id = ? AND giphy_id = ? LIMIT 1", by.UserID, b.GiphyID)
		if err == nil {
			saved = &list[0]
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	list := []Sticker{*saved}
	if err := s.stickersHere(ctx, list); err != nil {
		return nil, err
	}
	return &SavedSticker{true, "Sticker saved", &list[0]}, nil
}

// keepSticker returns what to store of the address of a sticker, and claims its upload.
func (s *Service) keepSticker(tx *storage.Tx, by api.Caller, id, address string) (string, error) {
	there, err := s.stickerAddress(tx, address)
	if err != nil {
		return "", err
	}
	if there != "" {
		return there, s.Unclaim(tx, stickerClaim+id)
	}
	name, _, ok := parseName(address)
	if !ok {
		return "", api.Invalid("url", "expected an upload of this server, or the address of a GIF at GIPHY or Tenor")
	}
	u, err := uploadBy(tx, "u.name = ? AND u.kind = 'image' AND u.state IN ('ready', 'processing') AND (u.user_id = ? OR "+isPacked+")", name, by.UserID)
	if api.HasCode(err, "MEDIA_NOT_FOUND") {
		return "", api.Invalid("url", "expected a picture that you have uploaded, or one of a pack")
	}
	if err != nil {
		return "", err
	}
	_, err = tx.Exec("INSERT INTO claim (scope, upload_id) VALUES (?1, ?2) ON CONFLICT (scope) DO UPDATE SET upload_id = ?2", stickerClaim+id, u.id)
	if err != nil {
		return "", fmt.Errorf("claim sticker: %w", err)
	}
	return u.path(""), nil
}

// stickerAddress is the address at a provider to store for that of a GIF, "" for any other. Without a provider to fetch them
// from, clients are still told where their GIFs are.
func (s *Service) stickerAddress(q storage.Querier, address string) (string, error) {
	if !s.gifs.on() && provided(address) {
		return address, nil
	}
	return s.gifAddress(q, address)
}

// providers are the hosts that the pictures of GIPHY and Tenor are at.
var providers = []string{"giphy.com", "tenor.com"}

// provided reports whether an address is at a provider of GIFs.
func provided(address string) bool {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" || u.User != nil || u.Port() != "" {
		return false
	}
	host := strings.ToLower(u.Hostname())
	return slices.ContainsFunc(providers, func(domain string) bool { return host == domain || strings.HasSuffix(host, "."+domain) })
}

func stickersOf(q storage.Querier, where string, args ...any) ([]Sticker, error) {
	rows, err := q.Query("SELECT id, user_id, url, thumbnail_url, giphy_id, title, type, use_count, last_used_at, created_at, updated_at FROM sticker WHERE "+where, args...)
	if err != nil {
		return nil, fmt.Errorf("read stickers: %w", err)
	}
	defer rows.Close()
	list := []Sticker{}
	for rows.Next() {
		var k Sticker
		var used, created, updated int64
		if err := rows.Scan(&k.ID, &k.UserID, &k.URL, &k.ThumbnailURL, &k.GiphyID, &k.Title, &k.Type, &k.UseCount, &used, &created, &updated); err != nil {
			return nil, fmt.Errorf("read stickers: %w", err)
		}
		k.MongoID, k.URL = k.ID, q.Link(k.URL, stickerClaim+k.ID)
		k.LastUsedAt, k.CreatedAt, k.UpdatedAt = api.Millis(used), api.Millis(created), api.Millis(updated)
		list = append(list, k)
	}
	return list, rows.Err()
}

// StickersInput pages through one's stickers.
type StickersInput struct {
	Type  string `query:"type" enum:"gif,sticker"`
	Limit int    `query:"limit" default:"50" minimum:"1" maximum:"100"`
	Skip  int    `query:"skip" default:"0" minimum:"0" maximum:"1000"`
}

// Stickers is a page of stickers.
type Stickers struct {
	Success    bool         `json:"success"`
	Data       []Sticker    `json:"data" nullable:"false"`
	Pagination *StickerPage `json:"pagination,omitempty"`
}

// StickerPage says where a page lies.
type StickerPage struct {
	Total int64 `json:"total"`
	Limit int   `json:"limit"`
	Skip  int   `json:"skip"`
}

// Stickers lists the caller's stickers, the most used first.
func (s *Service) Stickers(ctx context.Context, by api.Caller, in *StickersInput) (out Stickers, err error) {
	out = Stickers{Success: true, Pagination: &StickerPage{Limit: in.Limit, Skip: in.Skip}}
	err = s.db.Read(ctx, func(v storage.View) error {
		if err := v.QueryRow("SELECT count(*) FROM sticker WHERE user_id = ?1 AND (?2 = '' OR type = ?2)", by.UserID, in.Type).Scan(&out.Pagination.Total); err != nil {
			return fmt.Errorf("count stickers: %w", err)
		}
		out.Data, err = stickersOf(v, "user_id = ?1 AND (?2 = '' OR type = ?2) ORDER BY use_count DESC, last_used_at DESC LIMIT ?3 OFFSET ?4", by.UserID, in.Type, in.Limit, in.Skip)
		return err
	})
	if err == nil {
		err = s.stickersHere(ctx, out.Data)
	}
	return out, err
}

// RecentInput says how many.
type RecentInput struct {
	Limit int `query:"limit" default:"20" minimum:"1" maximum:"100"`
}

// RecentStickers lists what the caller used last.
func (s *Service) RecentStickers(ctx context.Context, by api.Caller, in *RecentInput) (out Stickers, err error) {
	out.Success = true
	err = s.db.Read(ctx, func(v storage.View) error {
		out.Data, err = stickersOf(v, "user_id = ? ORDER BY last_used_at DESC LIMIT ?", by.UserID, in.Limit)
		return err
	})
	if err == nil {
		err = s.stickersHere(ctx, out.Data)
	}
	return out, err
}

// StickerInput names one of the caller's stickers.
type StickerInput struct {
	GiphyID string `path:"giphyId" maxLength:"128"`
}

// StickerDone says whether something was done.
type StickerDone struct {
	Success bool   `json:"success"`
	Message string `json:"message"`
}

// UseSticker counts a use. Codes: STICKER_NOT_FOUND.
func (s *Service) UseSticker(ctx context.Context, by api.Caller, in *StickerInput) (StickerDone, error) {
	err := s.db.Write(ctx, "sticker.use", func(tx *storage.Tx) error {
		result, err := tx.Exec("UPDATE sticker SET use_count = use_count + 1, last_used_at = ?1 WHERE user_id = ?2 AND giphy_id = ?3", tx.Millis(), by.UserID, in.GiphyID)
		if err != nil {
			return fmt.Errorf("count use of sticker: %w", err)
		}
		if n, err := result.RowsAffected(); err != nil || n == 0 {
			return orMissing(err)
		}
		return nil
	})
	return StickerDone{err == nil, "Sticker usage recorded"}, err
}

func orMissing(err error) error {
	if err != nil {
		return err
	}
	return api.E("STICKER_NOT_FOUND")
}

// RemoveSticker forgets a sticker; success is false when there was none.
func (s *Service) RemoveSticker(ctx context.Context, by api.Caller, in *StickerInput) (StickerDone, error) {
	done := StickerDone{false, "Sticker not found"}
	err := s.db.Write(ctx, "sticker.remove", func(tx *storage.Tx) error {
		rows, err := tx.Query("DELETE FROM sticker WHERE user_id = ? AND giphy_id = ? RETURNING id", by.UserID, in.GiphyID)
		if err != nil {
			return fmt.Errorf("remove sticker: %w", err)
		}
		ids, err := storage.ScanIDs(rows)
		if err != nil || len(ids) == 0 {
			return err
		}
		done = StickerDone{true, "Sticker removed"}
		return s.Unclaim(tx, stickerClaim+ids[0])
	})
	return done, err
}

// StickerKept says whether the caller has a sticker.
type StickerKept struct {
	Success bool `json:"success"`
	Saved   bool `json:"saved"`
}

// StickerSaved reports whether the caller has a sticker.
func (s *Service) StickerSaved(ctx context.Context, by api.Caller, in *StickerInput) (out StickerKept, err error) {
	out.Success = true
	err = s.db.Read(ctx, func(v storage.View) error {
		return v.QueryRow("SELECT EXISTS (SELECT 1 FROM sticker WHERE user_id = ? AND giphy_id = ?)", by.UserID, in.GiphyID).Scan(&out.Saved)
	})
	return out, err
}

// StickerStats counts the caller's stickers.
type StickerStats struct {
	Success bool          `json:"success"`
	Data    StickerCounts `json:"data"`
}

// StickerCounts are how many of which type.
type StickerCounts struct {
	TotalSaved    int64 `json:"totalSaved"`
	TotalGifs     int64 `json:"totalGifs"`
	TotalStickers int64 `json:"totalStickers"`
}

// StickerStats counts the caller's stickers.
func (s *Service) StickerStats(ctx context.Context, by api.Caller, _ *struct{}) (out StickerStats, err error) {
	out.Success = true
	err = s.db.Read(ctx, func(v storage.View) error {
		return v.QueryRow("SELECT count(*), coalesce(sum(type = 'gif'), 0), coalesce(sum(type = 'sticker'), 0) FROM sticker WHERE user_id = ?", by.UserID).
			Scan(&out.Data.TotalSaved, &out.Data.TotalGifs, &out.Data.TotalStickers)
	})
	return out, err
}

func (s *Service) stickerRoutes() []api.Row {
	return []api.Row{
		api.Op("POST /stickers", "", api.RoleUser, api.TierWrite, s.SaveSticker, api.Doc("Keep a GIF or sticker among one's own, or count one more use.")),
		api.Op("GET /stickers", "", api.RoleUser, api.TierRead, s.Stickers, api.Doc("My stickers, the most used first.")),
		api.Op("GET /stickers/recent", "", api.RoleUser, api.TierRead, s.RecentStickers, api.Doc("My stickers, the last used first.")),
		api.Op("GET /stickers/stats", "", api.RoleUser, api.TierRead, s.StickerStats, api.Doc("How many stickers I keep.")),
		api.Op("POST /stickers/{giphyId}/use", "", api.RoleUser, api.TierWrite, s.UseSticker, api.Doc("Count a use of a sticker.")),
		api.Op("GET /stickers/{giphyId}/saved", "", api.RoleUser, api.TierRead, s.StickerSaved, api.Doc("Whether I keep a sticker.")),
		api.Op("DELETE /stickers/{giphyId}", "", api.RoleUser, api.TierWrite, s.RemoveSticker, api.Doc("Forget a sticker.")),
		api.Op("GET /stickers/packs", "", api.RoleUser, api.TierRead, s.Packs, api.Doc("The sticker packs of this server.")),
		api.Op("GET /stickers/packs/{packId}", "", api.RoleUser, api.TierRead, s.Pack, api.Doc("One sticker pack.")),
		api.Op("DELETE /stickers/packs/{packId}", "", api.RoleAdmin, api.TierAdmin, s.RemovePack, api.Doc("Remove a sticker pack; what was sent of it stays.")),
		api.Raw("POST /stickers/packs", api.RoleAdmin, api.TierAdmin, s.importPack, api.Doc("Import a sticker pack: the part file of a form, a ZIP of pictures with or without a manifest.json.")),
	}
}
