package doctor_test

import (
	"context"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/quckchat/quckchat/server/doctor"
	"github.com/quckchat/quckchat/server/servertest"
	"github.com/quckchat/quckchat/storage"
)

// promote makes somebody an administrator.
func promote(t *testing.T, u *servertest.User) {
	t.Helper()
	err := u.Server.Inner.Store().Write(context.Background(), "promote", func(tx *storage.Tx) error {
		_, err := tx.Exec("UPDATE user SET role = 'admin' WHERE id = ?", u.ID)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	*u = *u.Again()
}

func TestABrowserOnTheSameMachineFindsThatAllIsWell(t *testing.T) {
	s := servertest.Start(t, "QUCKCHAT_TURN_LISTEN=127.0.0.1:0")
	ada := s.Register("ada")
	promote(t, ada)
	ctx := browse(t, "", chromedp.Flag("accept-lang", "es-ES"))
	err := chromedp.Do(ctx, chromedp.Navigate(s.URL+"/doctor/calls"), chromedp.WaitVisible(`#username`), chromedp.SendKeys(`#username`, "ada"),
		chromedp.SendKeys(`#password`, servertest.Password), chromedp.Click(`#form button`))
	if err != nil {
		t.Fatal(err)
	}
	got := findings(t, ctx)
	picture(t, ctx, "well")
	copied := chromedp.Poll[bool](`document.querySelector('#copy').textContent === 'Copiado'`, chromedp.WithPollingTimeout(patience))
	if err := chromedp.Do(ctx, chromedp.Click(`#copy`)); err != nil {
		t.Fatal(err)
	}
	if _, err := chromedp.Run(ctx, copied); err != nil {
		t.Errorf("the button copies nothing: %v", err)
	}
	want := map[string]string{"gather": "gathered", "call-udp": "call_works", "call-tcp": "call_works", "ports": "ports_open"}
	holds(t, &got.Browser, "", want)
	if len(got.Browser.Checks) != len(want) {
		t.Errorf("the browser finds %v", codes(&got.Browser))
	}
	if got.Server == nil || !got.Server.OK || codes(got.Server)["relay-tcp"] != "relay_works" {
		t.Errorf("the server finds %+v", got.Server)
	}
	if f := got.Browser.Checks[1]; f.Sentence[:11] != "Una llamada" {
		t.Errorf("it says %q", f.Sentence)
	}
	var last map[string]doctor.Diagnosis
	ada.Do("GET", "/admin/doctor/calls", nil).OK(&last)
	if b := last["browser"]; b.At != got.Browser.At || len(last) != 2 {
		t.Errorf("kept: %+v", last)
	}
}
