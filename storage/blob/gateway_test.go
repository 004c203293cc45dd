package blob_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/quckchat/quckchat/storage/blob"
)

// The S3 server of these tests is a real one: versitygw, which keeps objects as files of the same names in a directory.
const gatewayVersion = "v1.8.0"

var install = sync.OnceValues(func() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "quckchat-test", "versitygw-"+gatewayVersion)
	limit, cancel := context.WithTimeout(ctx, 4*time.Minute)
	defer cancel()
	build := exec.CommandContext(limit, "go", "install", "github.com/versity/versitygw/cmd/versitygw@"+gatewayVersion)
	build.Env = append(os.Environ(), "GOBIN="+dir, "CGO_ENABLED=0", "GOFLAGS=", "GOOS=", "GOARCH=")
	build.Dir = os.TempDir()
	if out, err := build.CombinedOutput(); err != nil {
		return "", errors.New(err.Error() + ": " + string(out[max(0, len(out)-400):]))
	}
	return filepath.Join(dir, "versitygw"), nil
})

// gateway is a server with the bucket "chat" in root.
type gateway struct {
	testing.TB
	root, address string
	process       *exec.Cmd
	log           bytes.Buffer
}

func startGateway(t testing.TB) *gateway {
	t.Helper()
	if testing.Short() {
		t.Skip("SKIPPED: no S3 server in short tests")
	}
	program, err := install()
	if err != nil {
		t.Skipf("SKIPPED: nothing is known of S3 by this run, versitygw %s cannot be built: %v", gatewayVersion, err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	g := &gateway{TB: t, root: filepath.Join(dir, "root"), address: l.Addr().String()}
	_ = l.Close()
	if err := errors.Join(os.MkdirAll(g.bucket(), 0o700), os.MkdirAll(filepath.Join(dir, "side"), 0o700)); err != nil {
		t.Fatal(err)
	}
	g.start(program)
	t.Cleanup(g.kill)
	return g
}

func (g *gateway) bucket() string { return filepath.Join(g.root, "chat") }

func (g *gateway) start(program string) {
	g.Helper()
	g.process = exec.Command(program, "--access", "chat", "--secret", "a secret of tests", "--port", g.address, "--keep-alive",
		"posix", "--sidecar", filepath.Join(filepath.Dir(g.root), "side"), g.root)
	g.process.Stdout, g.process.Stderr = &g.log, &g.log
	g.process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // also when a test panics
	if err := g.process.Start(); err != nil {
		g.Fatal(err)
	}
	for range 400 {
		c, err := net.DialTimeout("tcp", g.address, time.Second)
		if err == nil {
			_ = c.Close()
			return
		}
		<-time.After(25 * time.Millisecond)
	}
	g.kill()
	g.Fatalf("versitygw does not listen: %s", g.log.String())
}

// kill may be called twice.
func (g *gateway) kill() {
	_ = g.process.Process.Kill()
	_ = g.process.Wait()
}

func (g *gateway) restart() {
	g.kill()
	g.start(g.process.Path)
}

func (g *gateway) settings() blob.S3 {
	return blob.S3{
		Endpoint: "http://" + g.address, Region: "us-east-1", Bucket: "chat", Prefix: "media",
		AccessKey: "chat", SecretKey: "a secret of tests", PathStyle: true, Part: 5 << 20, Silence: 10 * time.Second,
	}
}

func (g *gateway) open(to blob.S3) *blob.Store {
	g.Helper()
	s, err := blob.OpenS3(ctx, g.TempDir(), 0, to)
	if err != nil {
		g.Fatal(err)
	}
	return s
}

// between is a proxy in front of the gateway, which a test has do what networks do. Host and headers of a request
// stay as they are, so that its signature holds.
func (g *gateway) between(change func(next http.Handler) http.Handler) blob.S3 {
	g.Helper()
	target := &url.URL{Scheme: "http", Host: g.address}
	proxy := &httputil.ReverseProxy{
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(target); r.Out.Host = r.In.Host },
		ErrorHandler:  func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
		FlushInterval: -1,
	}
	server := httptest.NewServer(change(proxy))
	g.Cleanup(server.Close)
	to := g.settings()
	to.Endpoint = server.URL
	return to
}

// each runs a test in every place. The blobs lie in the directory media of dir.
func each(t *testing.T, test func(t *testing.T, s *blob.Store, dir string)) {
	t.Run("disk", func(t *testing.T) { dir := t.TempDir(); test(t, open(t, dir), dir) })
	t.Run("S3", func(t *testing.T) { g := startGateway(t); test(t, g.open(g.settings()), g.bucket()) })
}
