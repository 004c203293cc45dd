package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// api calls the server over REST.
type api struct {
	base string
	http *http.Client
}

func newAPI(p *process) *api {
	return &api{
		base: "http://" + p.to.String() + "/api/v1",
		http: &http.Client{Timeout: time.Minute, Transport: &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true}},
	}
}

// call sends in as JSON and reads the answer into out; a status other than 2xx is an error. Either may be nil.
func (a *api) call(ctx context.Context, method, path, token string, in, out any) error {
	body, err := a.raw(ctx, method, path, token, in)
	if err != nil || out == nil {
		return err
	}
	if err := json.Unmarshal(body, out); err != nil {
		return fmt.Errorf("%s %s: read answer: %w", method, path, err)
	}
	return nil
}

func (a *api) raw(ctx context.Context, method, path, token string, in any) ([]byte, error) {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(b)
	}
	request, err := http.NewRequestWithContext(ctx, method, a.base+path, body)
	if err != nil {
		return nil, err
	}
	if in != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := a.http.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, path, err)
	}
	if response.StatusCode/100 != 2 {
		return nil, fmt.Errorf("%s %s: %s: %.300s", method, path, response.Status, answer)
	}
	return answer, nil
}

// account is somebody who signed up on the server. Accounts outlive a restart of it: api is the present one.
type account struct {
	id  string
	api *api

	mu              sync.Mutex
	access, refresh string
	at              time.Time // of the access token
}

// tokenAge is when an access token, good for 15 minutes, is renewed.
const tokenAge = 10 * time.Minute

type tokens struct {
	Access  string `json:"accessToken"`
	Refresh string `json:"refreshToken"`
}

// token is an access token that is good for some minutes.
func (a *account) token(ctx context.Context) (string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if time.Since(a.at) < tokenAge {
		return a.access, nil
	}
	var t tokens
	if err := a.api.call(ctx, http.MethodPost, "/auth/refresh", "", map[string]string{"refreshToken": a.refresh}, &t); err != nil {
		return "", err
	}
	a.access, a.refresh, a.at = t.Access, t.Refresh, time.Now()
	return a.access, nil
}

// call is a REST call as this account.
func (a *account) call(ctx context.Context, method, path string, in, out any) error {
	token, err := a.token(ctx)
	if err != nil {
		return err
	}
	return a.api.call(ctx, method, path, token, in, out)
}

// register signs up count people, two at a time: the server hashes each password on purpose slowly.
func register(ctx context.Context, a *api, count int) ([]*account, error) {
	list := make([]*account, count)
	err := parallel(ctx, 2, count, func(i int) error {
		var answer struct {
			User struct {
				ID string `json:"_id"`
			} `json:"user"`
			tokens
		}
		in := map[string]string{
			"phoneNumber": fmt.Sprintf("+1555%07d", i), "password": "Passw0rd!x",
			"username": fmt.Sprintf("user%d", i), "displayName": fmt.Sprintf("User %d", i),
		}
		if err := a.call(ctx, http.MethodPost, "/auth/register", "", in, &answer); err != nil {
			return err
		}
		list[i] = &account{id: answer.User.ID, api: a, access: answer.Access, refresh: answer.Refresh, at: time.Now()}
		return nil
	})
	return list, err
}

// group has the first account make a group with the others; the senders take turns in its runs.
func group(ctx context.Context, accounts []*account, senders int) (*room, error) {
	ids := make([]string, 0, len(accounts))
	for _, a := range accounts[1:] {
		ids = append(ids, a.id)
	}
	var answer struct {
		ID string `json:"_id"`
	}
	in := map[string]any{"name": fmt.Sprintf("Room of %d", len(accounts)), "participantIds": ids}
	if err := accounts[0].call(ctx, http.MethodPost, "/conversations/group", in, &answer); err != nil {
		return nil, err
	}
	r := &room{id: answer.ID}
	for i := range accounts {
		r.members = append(r.members, i)
	}
	r.senders = r.members[:min(senders, len(accounts))]
	return r, nil
}

// pair has two accounts, known by their numbers in list, talk to each other.
func pair(ctx context.Context, list []*account, a, b int) (*room, error) {
	var answer struct {
		ID string `json:"_id"`
	}
	if err := list[a].call(ctx, http.MethodPost, "/conversations/single", map[string]string{"recipientId": list[b].id}, &answer); err != nil {
		return nil, err
	}
	return &room{id: answer.ID, members: []int{a, b}, senders: []int{a, b}}, nil
}

// parallel calls fn for 0..count-1 from some goroutines and returns the first error.
func parallel(ctx context.Context, width, count int, fn func(i int) error) error {
	var wg sync.WaitGroup
	var next atomic.Int64
	var once sync.Once
	var first error
	var stop atomic.Bool
	for range width {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < count && !stop.Load(); i = int(next.Add(1)) - 1 {
				err := ctx.Err()
				if err == nil {
					err = fn(i)
				}
				if err != nil {
					once.Do(func() { first = err })
					stop.Store(true)
				}
			}
		})
	}
	wg.Wait()
	return first
}
