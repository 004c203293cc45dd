// Package config is what an operator can set, where each value came from, and the values as they are now.
//
// # A setting
//
// A setting is one tagged field of [Config], and nothing else has to be written for it. From the key follow the other
// names: socket.max_per_user is max_per_user under [socket] in the TOML file, the variable
// QUCKCHAT_SOCKET_MAX_PER_USER, the flag --socket-max-per-user, and a row of docs/configuration.md. The tags are
//
//	key      its name: lower case, words joined by _, a dot for each section
//	default  its value when nobody sets it, spelled as an operator would
//	help     one sentence without a full stop; it is all the documentation there is
//	enum     the only values, comma separated
//	min max  the bounds of a number, duration or size, themselves allowed
//	check    address, address or off, ip, ports, origin or network: what a text, or each item of a list, must be
//	reload   true: a running server takes a new value, so its readers must ask Live each time
//	secret   true: never shown; may be file:/path or env:NAME, which is read when the value is
//	file     false: does not stand in the file
//	stored   false: is never taken from the database, as if it were not reloadable
//
// A field is a string, bool (on, off), int, [time.Duration] (15m), [Bytes] (10MiB) or []string (comma separated).
//
// # Layers
//
// A later layer wins: default, file, stored (set in the console, kept in the database), env, flag. What env or flag
// fixed is locked: storing another value would change nothing. An empty variable counts as not set.
//
// [Load] checks every value, even one that a later layer replaces, and returns all that is wrong as one error. An
// unknown key in the file is such an error. An unknown QUCKCHAT_ variable is a warning, because an environment is
// shared. Only reloadable settings can be stored, for the database is opened after the others are in use. A stored
// setting that is unknown or does not fit is skipped with a warning: what somebody once saved in the console must not
// keep the server from starting. [Check] is for asking before saving.
//
// # While the server runs
//
// [Live] holds the snapshot in force. Live.Reload reads all layers again and puts the reloadable values in force
// together, or changes nothing when anything is wrong.
package config

import (
	"errors"
	"reflect"
	"time"
)

// Config is all settings. A value that Load or Live returned is shared: do not change it.
type Config struct {
	Data      string `key:"data" default:"./data" help:"Directory with everything the server keeps; made when missing"`
	File      string `key:"config" file:"false" stored:"false" reload:"true" help:"The configuration file; when not given, quckchat.toml in the data directory, if there is one"`
	Listen    string `key:"listen" default:":3000" check:"address" help:"Address for HTTP and WebSocket"`
	PublicURL string `key:"public_url" check:"origin" reload:"true" help:"The origin under which clients reach the server, such as https://chat.example.org; stands in links; empty when clients use the address it listens on"`
	TLSCert   string `key:"tls_cert" help:"PEM file with the certificate chain; together with tls_key it turns HTTP into HTTPS"`
	TLSKey    string `key:"tls_key" help:"PEM file with the private key of tls_cert"`

	CORSOrigins    []string `key:"cors_origins" check:"origin" reload:"true" help:"Origins of other web pages that may use the API; empty means pages of this server only"`
	TrustedProxies []string `key:"trusted_proxies" check:"network" reload:"true" help:"Addresses or networks of reverse proxies whose X-Forwarded-For is believed; empty means nobody's"`

	Registration    string        `key:"registration" default:"invite" enum:"open,invite,closed" reload:"true" help:"Who may create an account: everybody, people with an invite, or nobody"`
	AccessTokenTTL  time.Duration `key:"access_token_ttl" default:"15m" min:"1s" max:"24h" reload:"true" help:"How long an access token is good for"`
	RefreshTokenTTL time.Duration `key:"refresh_token_ttl" default:"720h" min:"1m" max:"17520h" reload:"true" help:"How long a device stays signed in without being used"`

	GroupMembersMax     int           `key:"group_members_max" default:"256" min:"2" max:"100000" reload:"true" help:"Most members of a group"`
	HuddleMax           int           `key:"huddle_max" default:"50" min:"2" max:"1000" reload:"true" help:"Most people in a huddle"`
	MessageMaxLength    int           `key:"message_max_length" default:"4000" min:"1" max:"100000" reload:"true" help:"Most characters in a message"`
	MessageEditWindow   time.Duration `key:"message_edit_window" default:"24h" min:"0s" max:"87600h" reload:"true" help:"How long after sending a message its author may change it; 0s is for ever"`
	MessageDeleteWindow time.Duration `key:"message_delete_window" default:"0s" min:"0s" max:"87600h" reload:"true" help:"How long after sending a message its author may delete it for everyone; 0s is for ever"`
	EventRetention      time.Duration `key:"event_retention" default:"168h" min:"1h" max:"87600h" reload:"true" help:"How long events are kept for devices that were away; one that was away longer loads everything anew"`
	SnapshotRetention   time.Duration `key:"snapshot_retention" default:"168h" min:"1h" max:"87600h" reload:"true" help:"How long the copy of the database that is taken before an upgrade is kept; it still holds what was deleted since"`

	BodyLimit  Bytes `key:"body_limit" default:"100KiB" min:"1KiB" max:"64MiB" help:"Largest JSON body of a request"`
	RateLimits bool  `key:"rate_limits" default:"on" help:"Whether requests are limited per person and address; off only for load tests"`

	LogLevel  string `key:"log_level" default:"info" enum:"debug,info,warn,error" reload:"true" help:"The least important lines that are logged"`
	LogFormat string `key:"log_format" default:"text" enum:"text,json" help:"How a log line is written"`

	TURN   TURN   `key:"turn"`
	SFU    SFU    `key:"sfu"`
	Socket Socket `key:"socket"`
	Media  Media  `key:"media"`
	S3     S3     `key:"s3"`
	GIFs   GIFs   `key:"gifs"`

	Transcription Transcription `key:"transcription"`
	Admin         Admin         `key:"admin"`
}

// SFU is the settings of group calls.
type SFU struct {
	Listen string `key:"listen" default:":3479" check:"address or off" help:"Address for the media of huddles, one UDP port and one TCP port; off is none"`
	Uplink Bytes  `key:"uplink" default:"0" min:"0" max:"100GiB" help:"Bytes a second that huddles may send altogether; who would exceed it is refused, so that the calls there are stay good; 0 is no limit"`
}

// TURN is the settings of the STUN and TURN server.
type TURN struct {
	Listen        string        `key:"listen" default:":3478" check:"address or off" help:"Address for STUN and TURN, UDP and TCP, so that calls connect through routers; off is none"`
	PublicIP      []string      `key:"public_ip" check:"ip" help:"Addresses of this host as the internet sees it, of which clients are told the first of IPv4 and of IPv6; empty takes those of the interface with the default route, which is right without NAT"`
	Ports         string        `key:"ports" default:"49152-65535" check:"ports" help:"UDP ports for relaying, both ends included; a router or firewall must let them through"`
	STUNServer    string        `key:"stun_server" check:"address" help:"A STUN server outside, such as stun.example.org:3478, that is asked for the public address when turn.public_ip is empty; empty asks nobody"`
	UserRelays    int           `key:"user_relays" default:"32" min:"1" max:"1000" help:"Most relays that one person may have at a time; each connection of a call takes up to four"`
	Bandwidth     Bytes         `key:"bandwidth" default:"4MiB" min:"0" max:"1GiB" help:"Most that one relay may carry in a second, each way; 0 is no limit"`
	AllowPeers    []string      `key:"allow_peers" check:"network" help:"Private addresses or networks that relays may send to, such as that of the house; empty keeps them out of all"`
	CredentialTTL time.Duration `key:"credential_ttl" default:"12h" min:"1m" max:"168h" help:"How long the credentials that a client is given for relays are good for; a call cannot last longer through a relay"`
}

// Socket is the settings of client connections.
type Socket struct {
	MaxPerUser int           `key:"max_per_user" default:"100" min:"1" max:"10000" help:"Most connections of one account at a time"`
	Heartbeat  time.Duration `key:"heartbeat" default:"25s" min:"1s" max:"5m" help:"Time between two pings"`
	Queue      int           `key:"queue" default:"512" min:"1" max:"65536" help:"Frames that may wait for a slow client before it is disconnected"`
}

// Media is the settings of uploads and of what becomes of them.
type Media struct {
	Dir         string        `key:"dir" help:"Directory of the files that people send; empty means media in the data directory"`
	ImageMax    Bytes         `key:"image_max" default:"10MiB" min:"1KiB" max:"256MiB" reload:"true" help:"Largest picture"`
	VideoMax    Bytes         `key:"video_max" default:"100MiB" min:"1KiB" max:"16GiB" reload:"true" help:"Largest video that comes in one piece"`
	AudioMax    Bytes         `key:"audio_max" default:"50MiB" min:"1KiB" max:"16GiB" reload:"true" help:"Largest sound that comes in one piece"`
	FileMax     Bytes         `key:"file_max" default:"50MiB" min:"1KiB" max:"16GiB" reload:"true" help:"Largest other file that comes in one piece"`
	AvatarMax   Bytes         `key:"avatar_max" default:"5MiB" min:"1KiB" max:"64MiB" reload:"true" help:"Largest picture of a profile or group"`
	UploadMax   Bytes         `key:"upload_max" default:"2GiB" min:"1KiB" max:"1024GiB" reload:"true" help:"Largest file that comes by resumable upload"`
	UserQuota   Bytes         `key:"user_quota" default:"0" min:"0" max:"1048576GiB" reload:"true" help:"Most that one person may keep; 0 is no limit"`
	ServerQuota Bytes         `key:"server_quota" default:"0" min:"0" max:"1048576GiB" reload:"true" help:"Most that everybody together may keep, the same content once; 0 is no limit"`
	Reserve     Bytes         `key:"reserve" default:"256MiB" min:"0" max:"1024GiB" help:"Free space of the disk that uploads leave to messages"`
	LinkTTL     time.Duration `key:"link_ttl" default:"1h" min:"1m" max:"168h" reload:"true" help:"How long the address of a file works at most; every read of a message makes a new one"`
	ClamAV      string        `key:"clamav" help:"Where clamd listens: unix:/path or host:port; every upload is scanned before anybody is served it. Empty scans nothing"`
	ClamAVMax   Bytes         `key:"clamav_max" default:"25MiB" min:"1KiB" max:"4GiB" help:"Largest file that clamd is given, at most its MaxFileSize, beyond which it calls everything clean; larger ones are refused"`
	FFmpeg      bool          `key:"ffmpeg" default:"on" help:"Whether ffmpeg is used for the posters of videos when it is on the host"`
	Unclaimed   time.Duration `key:"unclaimed" default:"24h" min:"1m" max:"8760h" reload:"true" help:"How long a file is kept that no message shows"`
}

// Transcription is the settings of what makes text of speech.
type Transcription struct {
	URL      string        `key:"url" reload:"true" help:"Base address of a service that speaks OpenAI's /audio/transcriptions, such as http://whisper.lan:8000/v1; recordings are sent there. Empty is off"`
	APIKey   string        `key:"api_key" secret:"true" reload:"true" help:"The key of that service, when it wants one"`
	Command  string        `key:"command" help:"The program whisper-cli on this host, used when there is no transcription.url; needs ffmpeg. Empty is off"`
	Model    string        `key:"model" default:"whisper-1" reload:"true" help:"The model: its name at the service, or the path of its file for whisper-cli"`
	Language string        `key:"language" reload:"true" help:"The language that is spoken, such as en; empty leaves it to the model"`
	Auto     bool          `key:"auto" default:"off" reload:"true" help:"Whether every recording is transcribed by itself; otherwise when somebody asks"`
	MaxSize  Bytes         `key:"max_size" default:"25MiB" min:"1KiB" max:"2GiB" reload:"true" help:"Largest recording that is transcribed"`
	Timeout  time.Duration `key:"timeout" default:"10m" min:"1s" max:"6h" reload:"true" help:"How long one transcription may take"`
}

// S3 is where files are kept instead of the local disk.
type S3 struct {
	Endpoint  string `key:"endpoint" help:"Address of an S3-compatible store, such as https://s3.example.org; empty keeps files on the local disk"`
	Region    string `key:"region" help:"Region of the bucket; empty asks the store"`
	Bucket    string `key:"bucket" help:"The bucket, which is there already"`
	Prefix    string `key:"prefix" default:"media" help:"What the names of objects begin with"`
	AccessKey string `key:"access_key" help:"The access key"`
	SecretKey string `key:"secret_key" secret:"true" help:"The secret key"`
	PathStyle bool   `key:"path_style" default:"off" help:"Whether the bucket stands in the path of addresses instead of in the host name"`
}

// GIFs is where people find GIFs, which the server asks in their place.
type GIFs struct {
	Provider string        `key:"provider" enum:"giphy,tenor" help:"Who is asked for GIFs; empty asks nobody"`
	APIKey   string        `key:"api_key" secret:"true" help:"The key of the provider's API"`
	BaseURL  string        `key:"base_url" check:"origin" help:"Origin that is asked in place of the provider's own API, such as that of a proxy; pictures may be there too; empty is the provider's"`
	Rating   string        `key:"rating" default:"pg-13" enum:"g,pg,pg-13,r" help:"What is fit to be found, as films are rated"`
	Timeout  time.Duration `key:"timeout" default:"5s" min:"100ms" max:"1m" help:"How long the provider may take to answer; a picture may take three times as long"`
	CacheMax Bytes         `key:"cache_max" default:"1GiB" min:"10MiB" max:"1024GiB" reload:"true" help:"Most bytes of GIFs that are kept for those who look at them; what is sent counts for its sender instead"`
}

// Admin is the settings of the local administration socket.
type Admin struct {
	Socket string `key:"socket" help:"Path of the unix socket for administration; empty means quckchat.sock in the data directory"`
}

// Default returns the settings of a server that nobody configured.
func Default() Config {
	var c Config
	if _, _, err := resolve(Settings(), reflect.ValueOf(&c).Elem(), &layers{}); err != nil {
		panic("config: a default is not allowed by its own tags: " + err.Error())
	}
	return c
}

// Validate returns everything that is wrong with c as one error. Each line names a key, and what to write instead.
func (c *Config) Validate() error {
	var errs []error
	for _, s := range Settings() {
		errs = append(errs, s.check(reflect.ValueOf(c).Elem().FieldByIndex(s.index)))
	}
	return errors.Join(append(errs, c.conflicts())...)
}

// conflicts returns what is wrong with settings that are right one by one.
func (c *Config) conflicts() error {
	var errs []error
	switch {
	case c.TLSCert != "" && c.TLSKey == "":
		errs = append(errs, errors.New("tls_key is empty: write the path of the private key of tls_cert, or leave out both"))
	case c.TLSCert == "" && c.TLSKey != "":
		errs = append(errs, errors.New("tls_cert is empty: write the path of the certificate of tls_key, or leave out both"))
	}
	if c.S3.Endpoint != "" && c.S3.Bucket == "" {
		errs = append(errs, errors.New("s3.bucket is empty: name the bucket at s3.endpoint, or leave out both"))
	}
	if c.GIFs.Provider != "" && c.GIFs.APIKey == "" && c.GIFs.BaseURL == "" {
		errs = append(errs, errors.New("gifs.api_key is empty: write the key of gifs.provider, or leave out both"))
	}
	if c.RefreshTokenTTL < c.AccessTokenTTL {
		errs = append(errs, errors.New("refresh_token_ttl is shorter than access_token_ttl: write at least "+format(c.AccessTokenTTL)))
	}
	return errors.Join(errs...)
}
