package media

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"time"
)

// The forms of the two APIs, https://developers.giphy.com/docs/api and https://developers.google.com/tenor/guides. What does
// not fit is left out item by item.

type giphyItem struct {
	ID     string `json:"id"`
	Title  string `json:"title"`
	Images map[string]struct {
		URL    string `json:"url"`
		Width  side   `json:"width"`
		Height side   `json:"height"`
	} `json:"images"`
}

// askGiphy asks API v1.
func (g *gifs) askGiphy(ctx context.Context, q gifQuery) (list []GIF, total int64, err error) {
	params := url.Values{"api_key": {g.apiKey}, "rating": {g.rating}}
	items, path := []json.RawMessage{}, ""
	if q.id != "" {
		var answer struct {
			Data json.RawMessage `json:"data"`
		}
		if _, err := g.get(ctx, "/v1/gifs/"+url.PathEscape(q.id), params, &answer); err != nil {
			return nil, 0, err
		}
		items = append(items, answer.Data)
	} else {
		if path = "/v1/" + q.class + "/search"; q.trending {
			path = "/v1/" + q.class + "/trending"
		} else {
			params.Set("q", q.words)
		}
		params.Set("limit", strconv.Itoa(q.limit))
		params.Set("offset", strconv.Itoa(q.offset))
		var answer struct {
			Data       []json.RawMessage `json:"data"`
			Pagination struct {
				Total int64 `json:"total_count"`
			} `json:"pagination"`
		}
		found, err := g.get(ctx, path, params, &answer)
		if err != nil {
			return nil, 0, err
		}
		if found && answer.Data == nil {
			return nil, 0, providerError{"an answer without data"}
		}
		items, total = answer.Data[:min(len(answer.Data), q.limit)], max(0, answer.Pagination.Total)
	}
	for _, raw := range items {
		var item giphyItem
		if json.Unmarshal(raw, &item) != nil {
			continue
		}
		sizes := map[string]GIFImage{}
		for name, image := range item.Images {
			sizes[name] = GIFImage{image.URL, string(image.Width), string(image.Height)}
		}
		if made, ok := g.gif(item.ID, item.Title, sizes); ok {
			list = append(list, made)
		}
	}
	return list, max(total, int64(q.offset+len(list))), nil
}

type tenorItem struct {
	ID          string `json:"id"`
	Title       string `json:"title"`
	Description string `json:"content_description"`
	Formats     map[string]struct {
		URL  string `json:"url"`
		Dims []side `json:"dims"`
	} `json:"media_formats"`
}

type tenorAnswer struct {
	Results []json.RawMessage `json:"results"`
	Next    string            `json:"next"`
}

// tenorSizes are the formats of Tenor that stand for the sizes of GIPHY.
var tenorSizes = map[string]string{"fixed_height": "tinygif", "fixed_width": "tinygif", "fixed_height_small": "nanogif", "original": "gif", "preview_gif": "nanogif"}

const (
	tenorSteps = 5 // requests for one page
	tenorPlace = time.Hour
)

// askTenor asks API v2, which pages by a token instead of an offset. The tokens of the offsets one comes by are remembered;
// for an offset nobody has come by it goes there from the start, over at most 250 results.
func (g *gifs) askTenor(ctx context.Context, q gifQuery) (list []GIF, total int64, err error) {
	params := url.Values{"key": {g.apiKey}, "client_key": {"quckchat"}}
	if q.id != "" {
		params.Set("ids", q.id)
		var answer tenorAnswer
		if _, err := g.get(ctx, "/v2/posts", params, &answer); err != nil {
			return nil, 0, err
		}
		list = g.tenorGIFs(answer.Results[:min(len(answer.Results), 1)], "")
		return list, int64(len(list)), nil
	}
	path, suffix := "/v2/featured", ""
	if !q.trending {
		path = "/v2/search"
		params.Set("q", q.words)
	}
	if q.class == "stickers" {
		params.Set("searchfilter", "sticker")
		suffix = "_transparent"
	}
	params.Set("contentfilter", map[string]string{"g": "high", "pg": "medium", "pg-13": "low", "r": "off"}[g.rating])
	params.Set("media_filter", "gif"+suffix+",tinygif"+suffix+",nanogif"+suffix)
	began, at, more := time.Now(), 0, false
	if q.offset > 0 {
		if place := g.place(q, q.offset); place != "" {
			at = q.offset
			params.Set("pos", place)
		}
	}
	for range tenorSteps {
		params.Set("limit", strconv.Itoa(min(gifPageMax, q.offset+q.limit-at)))
		var answer tenorAnswer
		found, err := g.get(ctx, path, params, &answer)
		if err != nil {
			return nil, 0, err
		}
		if found && answer.Results == nil {
			return nil, 0, providerError{"an answer without results"}
		}
		results := answer.Results[:min(len(answer.Results), q.offset+q.limit-at)]
		list = append(list, g.tenorGIFs(results[min(len(results), max(0, q.offset-at)):], suffix)...)
		at += len(results)
		if more = answer.Next != "" && len(answer.Next) <= 1024 && len(results) > 0; !more {
			break
		}
		g.keepPlace(q, at, answer.Next)
		params.Set("pos", answer.Next)
		if at >= q.offset+q.limit || time.Since(began) > g.timeout {
			break
		}
	}
	if total = int64(at); more {
		total++
	}
	return list, total, nil
}

func (g *gifs) tenorGIFs(results []json.RawMessage, suffix string) (list []GIF) {
	for _, raw := range results {
		var item tenorItem
		if json.Unmarshal(raw, &item) != nil {
			continue
		}
		sizes := map[string]GIFImage{}
		for name, format := range tenorSizes {
			found, ok := item.Formats[format+suffix]
			if !ok {
				found = item.Formats[format]
			}
			size := GIFImage{URL: found.URL}
			if len(found.Dims) == 2 {
				size.Width, size.Height = string(found.Dims[0]), string(found.Dims[1])
			}
			sizes[name] = size
		}
		title := item.Title
		if title == "" {
			title = item.Description
		}
		if made, ok := g.gif(item.ID, title, sizes); ok {
			list = append(list, made)
		}
	}
	return list
}

// place is Tenor's token for an offset, "" when it is not known.
func (g *gifs) place(q gifQuery, offset int) string {
	raw, err := g.cache.Get(g.placeKey(q, offset))
	if err != nil {
		return ""
	}
	return string(raw)
}

func (g *gifs) keepPlace(q gifQuery, offset int, place string) {
	_ = g.cache.Set(g.placeKey(q, offset), []byte(place), tenorPlace) // lost: it is found anew
}

func (g *gifs) placeKey(q gifQuery, offset int) string {
	q.limit, q.offset = 0, offset
	return fmt.Sprintf("place:%s", g.key(q))
}
