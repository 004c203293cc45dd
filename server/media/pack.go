package media

import (
	"archive/zip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/server/audit"
	"github.com/quckchat/quckchat/storage"
)

// A sticker pack comes as a ZIP of pictures. A manifest.json in it, {"title", "author", "stickers": [{"file", "emoji",
// "title"}]}, names them and gives their order (cover and other fields are ignored); without one all pictures are taken in
// the order of their names, and the title is the name of the file.

// Pack is a sticker pack.
type Pack struct {
	MongoID   string        `json:"_id"`
	ID        string        `json:"id"`
	Title     string        `json:"title"`
	Author    string        `json:"author"`
	Stickers  []PackSticker `json:"stickers" nullable:"false"`
	CreatedAt string        `json:"createdAt"`
}

// PackSticker is a sticker of a pack. It is sent as an attachment of type sticker with its url.
type PackSticker struct {
	ID           string `json:"id"`
	Emoji        string `json:"emoji"`
	Title        string `json:"title"`
	URL          string `json:"url"`
	ThumbnailURL string `json:"thumbnailUrl"`
	Width        int64  `json:"width,omitempty"`
	Height       int64  `json:"height,omitempty"`
}

// manifest is what a pack says of itself.
type manifest struct {
	Title    string      `json:"title"`
	Name     string      `json:"name"` // in place of title
	Author   string      `json:"author"`
	Stickers []packEntry `json:"stickers"`
}

type packEntry struct {
	File  string `json:"file"`
	Emoji string `json:"emoji"`
	Title string `json:"title"`
}

const (
	packMax         = 200       // stickers
	packStickerMax  = 1 << 20   // bytes
	packManifestMax = 256 << 10 // bytes
	packSizeMax     = 64 << 20  // bytes of the ZIP, and of what is in it
	packsMax        = 500
	packClaim       = "k"
)

// isPacked is what holds of an upload u that belongs to a pack.
const isPacked = "EXISTS (SELECT 1 FROM pack_sticker k WHERE k.upload_id = u.id)"

// importPack stores a pack. Codes: those of an upload, PACK_INVALID.
func (s *Service) importPack(rw http.ResponseWriter, r *http.Request, by api.Caller) error {
	files, err := s.receive(rw, r, by, want{pack: true})
	if err != nil {
		return err
	}
	defer discard(files)
	archive, err := zip.NewReader(files[0].draft.Reader(), files[0].draft.Size())
	if err != nil {
		return api.E("PACK_INVALID", "why", "not a ZIP")
	}
	m, list, err := unpack(archive, strings.TrimSuffix(files[0].name, path.Ext(files[0].name)))
	if err != nil {
		return err
	}
	pictures, err := s.packPictures(m, list)
	if err != nil {
		return err
	}
	kept, err := s.keep(r.Context(), by, pictures)
	if err != nil {
		return err
	}
	p, err := s.storePack(r.Context(), by, m, kept)
	if err != nil {
		return err
	}
	rw.Header().Set("Content-Type", "application/json")
	rw.WriteHeader(http.StatusCreated)
	return json.NewEncoder(rw).Encode(p)
}

// unpack finds what is to be taken out of a ZIP. A name that leads out of it makes the whole suspect.
func unpack(archive *zip.Reader, name string) (m manifest, list []*zip.File, err error) {
	invalid := func(why string) (manifest, []*zip.File, error) { return m, nil, api.E("PACK_INVALID", "why", why) }
	byName := map[string]*zip.File{}
	total := uint64(0)
	if len(archive.File) > 4*packMax {
		return invalid(fmt.Sprintf("more than %d files", 4*packMax))
	}
	for _, f := range archive.File {
		clean := path.Clean(strings.ReplaceAll(f.Name, `\`, "/"))
		switch {
		case clean == ".." || strings.HasPrefix(clean, "../") || path.IsAbs(clean):
			return invalid("a name leads out of the archive")
		case f.FileInfo().IsDir() || strings.HasPrefix(path.Base(clean), ".") || strings.HasPrefix(clean, "__MACOSX/"):
			continue
		case !f.Mode().IsRegular():
			return invalid("an entry is not a file")
		}
		if total += f.UncompressedSize64; total > packSizeMax {
			return invalid(fmt.Sprintf("more than %d MiB", packSizeMax>>20))
		}
		byName[path.Base(clean)] = f
	}
	if f := byName["manifest.json"]; f != nil {
		raw, err := entry(f, packManifestMax)
		if err != nil || json.Unmarshal(raw, &m) != nil {
			return invalid("manifest.json cannot be read")
		}
		delete(byName, "manifest.json")
	}
	if len(m.Stickers) == 0 {
		for file := range byName {
			m.Stickers = append(m.Stickers, packEntry{File: file})
		}
		slices.SortFunc(m.Stickers, func(a, b packEntry) int { return strings.Compare(a.File, b.File) })
	}
	if len(m.Stickers) == 0 || len(m.Stickers) > packMax {
		return invalid(fmt.Sprintf("expected 1 to %d pictures", packMax))
	}
	for _, k := range m.Stickers {
		f := byName[path.Base(k.File)]
		if f == nil {
			return invalid("manifest.json names a file that is not there")
		}
		list = append(list, f)
	}
	for _, title := range []string{m.Title, m.Name, name, "Stickers"} {
		if title = strings.TrimSpace(strings.ToValidUTF8(title, "")); title != "" {
			m.Title = cut(title, 100)
			break
		}
	}
	m.Author = cut(strings.ToValidUTF8(m.Author, ""), 100)
	return m, list, nil
}

// cut is the first characters of a text.
func cut(text string, most int) string {
	if utf8.RuneCountInString(text) <= most {
		return text
	}
	return string([]rune(text)[:most])
}

// entry reads a file of a ZIP, never more than most bytes of it, whatever it says of itself.
func entry(f *zip.File, most int64) ([]byte, error) {
	r, err := f.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	raw, err := io.ReadAll(io.LimitReader(r, most+1))
	if err == nil && int64(len(raw)) > most {
		err = errors.New("too large")
	}
	return raw, err
}

// packPictures reads the pictures of a pack.
func (s *Service) packPictures(m manifest, list []*zip.File) (pictures []*arrived, err error) {
	defer func() {
		if err != nil {
			discard(pictures)
		}
	}()
	for i, f := range list {
		r, err := f.Open()
		if err != nil {
			return pictures, api.E("PACK_INVALID", "why", "a file cannot be read")
		}
		a, err := s.arrive(io.LimitReader(r, packStickerMax+1), m.Stickers[i].File, want{class: classImage})
		r.Close()
		var e *api.Error
		switch {
		case errors.As(err, &e) && e.Code != "STORAGE_FULL":
			return pictures, api.E("PACK_INVALID", "why", plainName(m.Stickers[i].File)+" is not a picture that can be taken")
		case err != nil:
			return pictures, err
		}
		pictures = append(pictures, a)
		if a.draft.Size() > packStickerMax {
			return pictures, api.E("PACK_INVALID", "why", fmt.Sprintf("a picture has more than %d KiB", packStickerMax>>10))
		}
	}
	return pictures, nil
}

func (s *Service) storePack(ctx context.Context, by api.Caller, m manifest, kept []*upload) (p Pack, err error) {
	err = s.db.Write(ctx, "sticker.pack", func(tx *storage.Tx) error {
		id := storage.NewID()
		var have int
		if err := tx.QueryRow("SELECT count(*) FROM sticker_pack").Scan(&have); err != nil {
			return fmt.Errorf("count packs: %w", err)
		}
		if have >= packsMax {
			return api.E("PACK_INVALID", "why", fmt.Sprintf("there are %d packs already", packsMax))
		}
		if _, err := tx.Exec("INSERT INTO sticker_pack (id, title, author, created_by, created_at) VALUES (?, ?, ?, ?, ?)", id, m.Title, m.Author, by.UserID, tx.Millis()); err != nil {
			return fmt.Errorf("store pack: %w", err)
		}
		for i, u := range kept { // at most packMax
			stickerID := storage.NewID()
			if _, err := tx.Exec("INSERT INTO pack_sticker (pack_id, position, id, upload_id, emoji, title) VALUES (?, ?, ?, ?, ?, ?)",
				id, i, stickerID, u.id, cut(m.Stickers[i].Emoji, 32), cut(m.Stickers[i].Title, 100)); err != nil {
				return fmt.Errorf("store pack: %w", err)
			}
			if _, err := tx.Exec("INSERT INTO claim (scope, upload_id) VALUES (?, ?)", packClaim+stickerID, u.id); err != nil {
				return fmt.Errorf("claim pack: %w", err)
			}
		}
		if err := audit.Record(tx, by, "sticker_pack_import", audit.Target{Kind: "sticker_pack", ID: id}, nil, map[string]any{"stickers": len(kept)}); err != nil {
			return err
		}
		list, err := packs(tx, id)
		if err == nil {
			p = list[0]
		}
		return err
	})
	if err != nil {
		for _, u := range kept {
			s.forgetLater(u.id)
		}
	}
	return p, err
}

// packs reads one pack, or all when id is "".
func packs(q storage.Querier, id string) ([]Pack, error) {
	rows, err := q.Query(`SELECT p.id, p.title, p.author, p.created_at, k.id, k.emoji, k.title, `+uploadColumns+`
		FROM sticker_pack p JOIN pack_sticker k ON k.pack_id = p.id JOIN upload u ON u.id = k.upload_id WHERE ?1 = '' OR p.id = ?1 ORDER BY p.id, k.position`, id)
	if err != nil {
		return nil, fmt.Errorf("read packs: %w", err)
	}
	defer rows.Close()
	list := []Pack{}
	for rows.Next() {
		var p Pack
		var k PackSticker
		var u upload
		var created int64
		if err := u.scan(leading{rows, []any{&p.ID, &p.Title, &p.Author, &created, &k.ID, &k.Emoji, &k.Title}}); err != nil {
			return nil, fmt.Errorf("read packs: %w", err)
		}
		if len(list) == 0 || list[len(list)-1].ID != p.ID {
			p.MongoID, p.CreatedAt = p.ID, api.Millis(created)
			list = append(list, p)
		}
		k.URL = q.Link(u.path(""), packClaim+k.ID)
		k.ThumbnailURL, k.Width, k.Height = q.Link(u.path("thumb.webp"), packClaim+k.ID), u.details.Width, u.details.Height
		last := &list[len(list)-1]
		last.Stickers = append(last.Stickers, k)
	}
	return list, rows.Err()
}

// leading scans what stands in front of the columns of an upload.
type leading struct {
	row     interface{ Scan(...any) error }
	targets []any
}

func (l leading) Scan(targets ...any) error { return l.row.Scan(append(l.targets, targets...)...) }

// Packs lists the packs of the server.
func (s *Service) Packs(ctx context.Context, _ api.Caller, _ *struct{}) (list []Pack, err error) {
	err = s.db.Read(ctx, func(v storage.View) error {
		list, err = packs(v, "")
		return err
	})
	return list, err
}

// PackInput names a pack.
type PackInput struct {
	PackID string `path:"packId" maxLength:"64"`
}

// Pack returns one pack. Codes: STICKER_NOT_FOUND.
func (s *Service) Pack(ctx context.Context, _ api.Caller, in *PackInput) (p Pack, err error) {
	err = s.db.Read(ctx, func(v storage.View) error {
		list, err := packs(v, in.PackID)
		if err != nil || len(list) != 1 {
			return orMissing(err)
		}
		p = list[0]
		return nil
	})
	return p, err
}

// RemovePack removes a pack. What was sent of it stays in its messages. Codes: STICKER_NOT_FOUND.
func (s *Service) RemovePack(ctx context.Context, by api.Caller, in *PackInput) (Deleted, error) {
	err := s.db.Write(ctx, "sticker.unpack", func(tx *storage.Tx) error {
		rows, err := tx.Query("DELETE FROM claim WHERE scope IN (SELECT '"+packClaim+"' || id FROM pack_sticker WHERE pack_id = ?) RETURNING upload_id", in.PackID)
		if err != nil {
			return fmt.Errorf("remove pack: %w", err)
		}
		uploads, err := storage.ScanIDs(rows)
		if err != nil {
			return fmt.Errorf("remove pack: %w", err)
		}
		if len(uploads) == 0 {
			return api.E("STICKER_NOT_FOUND")
		}
		for _, statement := range []string{"DELETE FROM pack_sticker WHERE pack_id = ?", "DELETE FROM sticker_pack WHERE id = ?"} {
			if _, err := tx.Exec(statement, in.PackID); err != nil {
				return fmt.Errorf("remove pack: %w", err)
			}
		}
		if err := audit.Record(tx, by, "sticker_pack_remove", audit.Target{Kind: "sticker_pack", ID: in.PackID}, nil, nil); err != nil {
			return err
		}
		return s.forget(tx, uploads)
	})
	return Deleted{err == nil}, err
}
