package blob

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/minio/minio-go/v7/pkg/s3utils"
)

// What can be wrong with a place that is not the local disk, for errors.Is.
var (
	ErrUnavailable = errors.New("the store of blobs cannot be reached") // it may be later
	ErrRefused     = errors.New("the store of blobs refuses us")        // until somebody changes a setting
)

// S3 says where a bucket is. The account needs to get, put, delete and list objects under the prefix.
type S3 struct {
	Endpoint  string // https://host[:port], or http:// for a store within the house
	Region    string // empty: the store is asked
	Bucket    string // must be there
	Prefix    string // before the names of the objects, "media" say; may be empty
	AccessKey string
	SecretKey string
	PathStyle bool          // the bucket in the path also where the provider would have it in the host name
	Roots     []byte        // PEM certificates that are trusted besides those of the system
	Silence   time.Duration // after which a request to a silent store is given up; 0 is 30 s
	Part      int64         // bytes, at least 5 MiB; what is larger is sent in parts. 0 is 64 MiB
}

const (
	defaultSilence = 30 * time.Second
	defaultPart    = 64 << 20
	minPart        = 5 << 20 // of the protocol, as is the next
	maxParts       = 10_000
	attempts       = 4 // of a request, with growing pauses of at most a second
	checkTimeout   = 15 * time.Second
)

// OpenS3 keeps blobs in a bucket of any S3-compatible store, as objects prefix/ab/cd/<sha256>. Drafts are files in the
// directory upload of dir, on whose disk they leave reserve bytes free; those that a kill has left are removed. One
// process has one prefix open at a time. It fails with ErrRefused for what waiting does not mend: keys, bucket, region.
// A store that is out of reach is no error here, but one of each call until it is back; see [Store.Check].
func OpenS3(ctx context.Context, dir string, reserve int64, to S3) (*Store, error) {
	b, err := newBucket(to)
	if err != nil {
		return nil, fmt.Errorf("settings of the store of blobs: %w", err)
	}
	s, err := newStore(b, filepath.Join(dir, "upload"), reserve)
	if err != nil {
		return nil, err
	}
	short, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	switch err := s.Check(short); {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err == nil:
		b.abandon(short)
	case !errors.Is(err, ErrUnavailable) && short.Err() == nil:
		return nil, err
	}
	return s, nil
}

// bucket is one prefix of one bucket.
type bucket struct {
	api    minio.Core
	name   string
	prefix string // "" or with a slash at its end
	part   int64
}

func newBucket(to S3) (*bucket, error) {
	u, err := url.Parse(to.Endpoint)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || strings.Trim(u.Path, "/") != "" || u.User != nil || u.RawQuery != "":
		return nil, errors.New("the endpoint is not of the form https://host or https://host:port")
	case s3utils.CheckValidBucketName(to.Bucket) != nil:
		return nil, s3utils.CheckValidBucketName(to.Bucket)
	case to.AccessKey == "" || to.SecretKey == "":
		return nil, errors.New("the access key or the secret key is missing")
	case to.Part != 0 && to.Part < minPart:
		return nil, fmt.Errorf("parts of less than %d bytes", minPart)
	}
	prefix := strings.Trim(to.Prefix, "/")
	if prefix != "" {
		if path.Clean("/"+prefix) != "/"+prefix || strings.ContainsFunc(prefix, func(r rune) bool { return r < ' ' || r == '\\' || r == 0x7f }) {
			return nil, errors.New("the prefix is not a plain path")
		}
		prefix += "/"
	}
	if to.Silence <= 0 {
		to.Silence = defaultSilence
	}
	transport, err := to.transport()
	if err != nil {
		return nil, err
	}
	lookup := minio.BucketLookupAuto
	if to.PathStyle {
		lookup = minio.BucketLookupPath
	}
	client, err := minio.New(u.Host, &minio.Options{
		Creds:        credentials.NewStaticV4(to.AccessKey, to.SecretKey, ""),
		Secure:       u.Scheme == "https",
		Transport:    transport,
		Region:       to.Region,
		BucketLookup: lookup,
		MaxRetries:   attempts,
	})
	if err != nil {
		return nil, err
	}
	b := &bucket{api: minio.Core{Client: client}, name: to.Bucket, prefix: prefix, part: to.Part}
	if b.part == 0 {
		b.part = defaultPart
	}
	return b, nil
}

func (b *bucket) key(name Name) string {
	return b.prefix + string(name[:2]) + "/" + string(name[2:4]) + "/" + string(name)
}

// blobOf is the name behind a key, if it is one of ours.
func (b *bucket) blobOf(key string) (Name, bool) {
	name := Name(path.Base(key))
	return name, name.Valid() && b.key(name) == key
}

// check lists one object: an account that may not is told "forbidden" of what is not there.
func (b *bucket) check(ctx context.Context) error {
	for o := range b.api.ListObjectsIter(ctx, b.name, minio.ListObjectsOptions{Prefix: b.prefix, Recursive: true, MaxKeys: 1}) {
		err := mapS3(ctx, o.Err)
		if errors.As(err, new(minio.ErrorResponse)) && !errors.Is(err, ErrUnavailable) && !errors.Is(err, ErrRefused) {
			err = fmt.Errorf("%w: %w", ErrRefused, err) // whatever it says: it will not list
		}
		return err
	}
	return ctx.Err()
}

// abandon ends the uploads in parts that a kill has left: until then the store keeps their bytes, and lists them
// nowhere else. A store that does not let us costs its owner that space.
func (b *bucket) abandon(ctx context.Context) {
	for u := range b.api.ListIncompleteUploads(ctx, b.name, b.prefix, true) {
		if _, ours := b.blobOf(u.Key); u.Err == nil && ours {
			_ = b.api.AbortMultipartUpload(ctx, b.name, u.Key, u.UploadID)
		}
	}
}

func (b *bucket) stat(ctx context.Context, name Name) (Info, error) {
	o, err := b.api.StatObject(ctx, b.name, b.key(name), minio.StatObjectOptions{})
	if err != nil {
		return Info{}, mapS3(ctx, err)
	}
	return Info{name, o.Size, o.LastModified}, nil
}

func (b *bucket) remove(ctx context.Context, name Name) error {
	err := mapS3(ctx, b.api.RemoveObject(ctx, b.name, b.key(name), minio.RemoveObjectOptions{}))
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}

func (b *bucket) walk(ctx context.Context, fn func(Info) error) error {
	for o := range b.api.ListObjectsIter(ctx, b.name, minio.ListObjectsOptions{Prefix: b.prefix, Recursive: true}) {
		if o.Err != nil {
			return fmt.Errorf("list blobs: %w", mapS3(ctx, o.Err))
		}
		if name, ours := b.blobOf(o.Key); ours {
			if err := fn(Info{name, o.Size, o.LastModified}); err != nil {
				return err
			}
		}
	}
	return ctx.Err()
}

// put signs each request with the SHA-256 of its body, which the store has to compare. For a blob sent at once that is
// its name.
func (b *bucket) put(ctx context.Context, d *Draft) error {
	name := d.Name()
	if d.size > b.part {
		return mapS3(ctx, b.putParts(ctx, d, name))
	}
	sum, err := hex.DecodeString(string(name))
	if err != nil {
		return err
	}
	for try := 1; ; try++ {
		_, err = b.api.PutObject(ctx, b.name, b.key(name), io.NewSectionReader(d.file, 0, d.size), d.size, "", string(name), minio.PutObjectOptions{
			DisableContentSha256: true, // which would replace the sum by signatures of chunks
			UserMetadata:         map[string]string{"x-amz-checksum-sha256": base64.StdEncoding.EncodeToString(sum)},
		})
		if try == attempts || minio.ToErrorResponse(err).Code != folderGone {
			return mapS3(ctx, err)
		}
	}
}

// folderGone is what versitygw says of an object whose folder it has just removed, because another object was the last
// one there (v1.8.0, seen under load).
const folderGone = "ExistingObjectIsDirectory"

// putParts reads each part twice, to have its sum before it is sent.
func (b *bucket) putParts(ctx context.Context, d *Draft, name Name) (err error) {
	key, size := b.key(name), max(b.part, (d.size+maxParts-1)/maxParts)
	id, err := b.api.NewMultipartUpload(ctx, b.name, key, minio.PutObjectOptions{})
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			end, cancel := context.WithTimeout(context.WithoutCancel(ctx), checkTimeout)
			defer cancel()
			_ = b.api.AbortMultipartUpload(end, b.name, key, id) // what stays goes when the store is opened next
		}
	}()
	var parts []minio.CompletePart
	whole := sha256.New()
	for at := int64(0); at < d.size; at += size {
		n := min(size, d.size-at)
		body, sum := io.NewSectionReader(d.file, at, n), sha256.New()
		if _, err := io.Copy(io.MultiWriter(sum, whole), &interruptible{ctx, body}); err != nil {
			return err
		}
		p, err := b.api.PutObjectPart(ctx, b.name, key, id, len(parts)+1, body, n, minio.PutObjectPartOptions{
			Sha256Hex: hex.EncodeToString(sum.Sum(nil)), DisableContentSha256: true,
		})
		if err != nil {
			return err
		}
		parts = append(parts, minio.CompletePart{PartNumber: p.PartNumber, ETag: p.ETag})
	}
	if Name(hex.EncodeToString(whole.Sum(nil))) != name {
		return errors.New("the draft has changed on the disk")
	}
	if _, err := b.api.CompleteMultipartUpload(ctx, b.name, key, id, parts, minio.PutObjectOptions{}); err != nil {
		return err
	}
	info, err := b.stat(ctx, name)
	if err == nil && info.Size != d.size {
		err = fmt.Errorf("the store has %d of %d bytes", info.Size, d.size)
	}
	return err
}

// mapS3 sorts what a store has answered, or not, into our errors. What a context has ended is the error of that.
func mapS3(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	kind := ErrUnavailable
	var answer minio.ErrorResponse
	var untrusted *tls.CertificateVerificationError
	var local *fs.PathError
	switch {
	case errors.As(err, &answer):
		kind = mapAnswer(answer)
	case errors.As(err, &untrusted), errors.Is(err, http.ErrSchemeMismatch):
		kind = ErrRefused
	case errors.As(err, &local), errors.Is(err, ErrNotFound), errors.Is(err, ErrRefused), errors.Is(err, ErrUnavailable):
		return err
	}
	if kind == nil || kind == ErrNotFound {
		return cmp.Or(kind, err)
	}
	return fmt.Errorf("%w: %w", kind, err)
}

// mapAnswer is nil for an answer that says nothing about us, the store, or the blob.
func mapAnswer(answer minio.ErrorResponse) error {
	switch answer.Code {
	case minio.NoSuchKey:
		return ErrNotFound
	case "QuotaExceeded", "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded":
		return ErrFull
	case "EntityTooLarge":
		return ErrTooLarge
	case minio.NoSuchBucket, minio.InvalidBucketName, minio.InvalidRegion, minio.AuthorizationHeaderMalformed:
		return ErrRefused
	}
	switch code := answer.StatusCode; {
	case code == http.StatusInsufficientStorage:
		return ErrFull
	case code == http.StatusUnauthorized, code == http.StatusForbidden, code >= 300 && code < 400:
		return ErrRefused
	case code >= 500, code == http.StatusTooManyRequests, code == http.StatusRequestTimeout:
		return ErrUnavailable
	}
	return nil
}
