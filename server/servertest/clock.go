package servertest

import "time"

// Now is the time on the server's clock.
func (s *Server) Now() time.Time { return time.Now().Add(time.Duration(s.ahead.Load())) }

// Advance moves the server's clock, backwards too, and has everything that sleeps by it look at it again. Access tokens
// may have expired then: see Refreshed.
func (s *Server) Advance(d time.Duration) {
	s.ahead.Add(int64(d))
	if s.cancel != nil {
		s.Inner.Wake()
	}
}

// Refreshed signs a user in anew with their refresh token, which is good for thirty days.
func (u *User) Refreshed() *User {
	u.Server.t.Helper()
	var out struct{ AccessToken, RefreshToken string }
	u.Server.Nobody().Do("POST", "/auth/refresh", map[string]any{"refreshToken": u.Refresh}).OK(&out)
	u.Token, u.Refresh = out.AccessToken, out.RefreshToken
	return u
}
