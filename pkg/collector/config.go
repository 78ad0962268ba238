package collector

import (
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"xunjian/pkg/alertapi"
	"xunjian/pkg/check"
	"xunjian/pkg/config"
	"xunjian/pkg/contract"
	"xunjian/pkg/fleet"
	"xunjian/pkg/heartbeat"
	"xunjian/pkg/incident"
	"xunjian/pkg/inspect"
	"xunjian/pkg/pager"
	"xunjian/pkg/promapi"
	"xunjian/pkg/report"
	"xunjian/pkg/roster"
	"xunjian/pkg/rule"
)

// Config is the collector's YAML file: it configures the whole fleet.
type Config struct {
	Data         string               `yaml:"data"`          // folder of all that is kept
	Location     string               `yaml:"location"`      // time zone of days, months and what people read
	Language     string               `yaml:"language"`      // of pages and reports: zh-CN or en
	HTTP         HTTPConfig           `yaml:"http"`          // console, API, metrics
	Uplink       UplinkConfig         `yaml:"uplink"`        // agents
	Storage      StorageConfig        `yaml:"storage"`       // series
	Report       report.Config        `yaml:"report"`        // the monthly record
	Contract     contract.Contract    `yaml:"contract"`      // limits, clocks, hours, assessment, payment
	ContractFile string               `yaml:"contract_file"` // the contract in a file of its own, which `contract` then overrides
	Incidents    incident.Config      `yaml:"incidents"`     // how faults are handled
	Heartbeat    []heartbeat.Receiver `yaml:"heartbeat"`     // who misses the collector when it stops
	Host         HostConfig           `yaml:"host"`          // what agents read of their hosts
	Services     []check.Service      `yaml:"services"`      // under contract
	Checks       []check.Spec         `yaml:"checks"`        // how they are asked
	Modules      []string             `yaml:"modules"`       // blackbox_exporter's module files, for checks that name a module
	Include      []string             `yaml:"include"`       // files with further services and checks, as services/*.yml
	Inspect      inspect.Config       `yaml:"inspect"`       // how answers become verdicts
	Rules        rule.Config          `yaml:"rules"`         // Prometheus alerting rules; the built-in ones when no file is named
	Fleet        fleet.Config         `yaml:"fleet"`         // silence of agents
	Pages        pager.Config         `yaml:"pages"`         // who is told
	Alerts       alertapi.Config      `yaml:"alerts"`        // what the alerts of an existing Prometheus mean
	People       []roster.Person      `yaml:"people"`        // by name
	Roster       roster.Config        `yaml:"roster"`        // who of them is on duty

	file      string
	dir       string        // of the file: relative paths in it start here
	unread    config.Faults // of the contract's own file
	included  []included
	elsewhere config.Faults // in the included files
}

// HTTPConfig is the door for people and tools.
type HTTPConfig struct {
	Listen      string `yaml:"listen"`
	ExternalURL string `yaml:"external_url,omitempty"` // as people reach it, for links in pages; default from listen
	TLS         string `yaml:"tls,omitempty"`          // auto (default): plain on loopback, else a certificate of the collector's own CA; on; off
	CertFile    string `yaml:"cert_file,omitempty"`    // a certificate of the site's own instead
	KeyFile     string `yaml:"key_file,omitempty"`
	ReadToken   bool   `yaml:"read_token,omitempty"`  // metrics and the query API want an API token; default: whoever reaches the door may read them
	CORSOrigin  string `yaml:"cors_origin,omitempty"` // regular expression: sites whose pages may use the query API; default none
}

// UplinkConfig is the door for agents.
type UplinkConfig struct {
	Listen       string  `yaml:"listen"`
	Admit        float64 `yaml:"admit"`         // new connections a second; more are told to come back later
	MaxBytes     int64   `yaml:"max_bytes"`     // of reports that are not on disk yet; agents wait for their turn
	AgentReports float64 `yaml:"agent_reports"` // a second, of one agent; more are read later
	AgentBytes   float64 `yaml:"agent_bytes"`   // the same in bytes on the wire
}

// StorageConfig tunes the series store.
type StorageConfig struct {
	Linger        time.Duration `yaml:"linger"`         // how long a commit waits for company
	ReserveMiB    int           `yaml:"reserve_mib"`    // room kept for records on a full disk
	AnyFilesystem bool          `yaml:"any_filesystem"` // warn of file systems that would be refused
	MaxSeries     int           `yaml:"max_series"`     // of all agents; beyond it what is new is left out, and told
}

// HostConfig is what agents read of their hosts.
type HostConfig struct {
	Every time.Duration `yaml:"every"`
}

// DefaultConfig is everything but the services.
func DefaultConfig() Config {
	c := Config{
		Data: "data", Location: "Asia/Shanghai", Language: "zh-CN",
		HTTP:    HTTPConfig{Listen: "127.0.0.1:9480", TLS: "auto"},
		Uplink:  UplinkConfig{Listen: ":9481", Admit: 200, MaxBytes: 64 << 20, AgentReports: 1000, AgentBytes: 4 << 20},
		Storage: StorageConfig{Linger: 250 * time.Millisecond, ReserveMiB: 64, MaxSeries: 100_000},
		Report:  report.DefaultConfig(), Contract: shippedContract(), Incidents: incident.DefaultConfig(), Host: HostConfig{Every: 15 * time.Second},
		Inspect: inspect.DefaultConfig(), Rules: rule.DefaultConfig(), Fleet: fleet.DefaultConfig(), Pages: pager.DefaultConfig(),
		Alerts: alertapi.DefaultConfig(),
	}
	c.contracted()
	return c
}

// LoadConfig reads the file, fills in the checks' defaults and certificates, and reports every fault at once.
func LoadConfig(file string) (Config, error) {
	c := DefaultConfig()
	c.file, c.dir = file, filepath.Dir(file)
	c.readContract(config.Peek(file, "contract_file"))
	c, err := config.Load(file, c)
	if err != nil {
		return c, err
	}
	c.Data = c.path(c.Data)
	c.contracted()
	for i := range c.Rules.Files {
		c.Rules.Files[i] = c.path(c.Rules.Files[i])
	}
	c.Pages.Resolve(c.path)
	for i := range c.People {
		c.People[i].Token.File = c.path(c.People[i].Token.File)
	}
	c.Pages.Replies.Token.File = c.path(c.Pages.Replies.Token.File)
	return c, c.merge()
}

// path resolves a path in the file against the file's folder.
func (c *Config) path(p string) string { return within(c.dir, p) }

func within(dir, p string) string {
	if p == "" || filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(dir, p)
}

// Validate asks every part, and sees that they fit together.
func (c *Config) Validate(fail config.Fail) {
	if c.Data == "" {
		fail("data", "missing: give a folder")
	}
	if _, err := time.LoadLocation(c.Location); err != nil || c.Location == "" {
		fail("location", "%q is not a time zone: write one as Asia/Shanghai", c.Location)
	}
	if c.Language != "zh-CN" && c.Language != "en" {
		fail("language", "%q: want zh-CN or en", c.Language)
	}
	c.HTTP.Validate(config.Under(fail, "http"))
	c.Uplink.Validate(config.Under(fail, "uplink"))
	if c.Storage.Linger < 0 || c.Storage.Linger > time.Second {
		fail("storage.linger", "%v: want 0s to 1s", c.Storage.Linger)
	}
	if c.Storage.MaxSeries < 1000 || c.Storage.MaxSeries > 10_000_000 {
		fail("storage.max_series", "%d: want 1000 to 10000000", c.Storage.MaxSeries)
	}
	if c.Storage.ReserveMiB < 0 || c.Storage.ReserveMiB > 64<<10 {
		fail("storage.reserve_mib", "%d: want 0 (none) to 65536", c.Storage.ReserveMiB)
	}
	c.validatePlace(fail)
	if c.Host.Every != 0 && (c.Host.Every < time.Second || c.Host.Every > time.Hour) {
		fail("host.every", "%v: want 1s to 1h, or 0s for never", c.Host.Every)
	}
	c.Contract.Validate(config.Under(fail, "contract"))
	c.Incidents.Validate(config.Under(fail, "incidents"))
	c.Inspect.Validate(config.Under(fail, "inspect"))
	c.Rules.Validate(config.Under(fail, "rules"))
	c.Fleet.Validate(config.Under(fail, "fleet"))
	heartbeat.Validate(c.Heartbeat, config.Under(fail, "heartbeat"))
	c.Pages.Validate(config.Under(fail, "pages"))
	c.Alerts.Validate(config.Under(fail, "alerts"))
	c.Report.Validate(config.Under(fail, "report"))
	c.validatePeople(fail)
	c.drawIn(fail)
	c.validateFiles(fail)
}

// Validate sees that the door can be opened.
func (h HTTPConfig) Validate(fail config.Fail) {
	address(h.Listen, "listen", fail)
	switch h.TLS {
	case "", "auto", "on", "off":
	default:
		fail("tls", "%q: want auto, on or off", h.TLS)
	}
	if u, err := url.Parse(h.ExternalURL); h.ExternalURL != "" && (err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https") {
		fail("external_url", "%q is not a URL of the console: write one as https://ops.example.org", h.ExternalURL)
	}
	if _, err := promapi.Origins(h.CORSOrigin); err != nil {
		fail("cors_origin", "%q is not a regular expression: write one as https://grafana\\.example\\.org", h.CORSOrigin)
	}
	if (h.CertFile == "") != (h.KeyFile == "") {
		fail("cert_file", "give cert_file and key_file together")
	}
	if h.TLS == "off" && h.CertFile != "" {
		fail("tls", "off, but cert_file is given: remove one of them")
	}
}

// Validate sees that agents get in and may send what they must.
func (u UplinkConfig) Validate(fail config.Fail) {
	address(u.Listen, "listen", fail)
	if u.Admit < 1 || u.Admit > 10_000 {
		fail("admit", "%v: want 1 to 10000 a second", u.Admit)
	}
	if u.MaxBytes < 8<<20 || u.MaxBytes > 4<<30 {
		fail("max_bytes", "%d: want 8388608 to 4294967296", u.MaxBytes)
	}
	if u.AgentReports < 10 || u.AgentReports > 1_000_000 {
		fail("agent_reports", "%v: want 10 to 1000000 a second", u.AgentReports)
	}
	if u.AgentBytes < 64<<10 || u.AgentBytes > 1<<30 {
		fail("agent_bytes", "%v: want 65536 to 1073741824 a second", u.AgentBytes)
	}
}

func address(addr, path string, fail config.Fail) {
	_, port, err := net.SplitHostPort(addr)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		fail(path, "%q is not an address: write one as 127.0.0.1:9480 or :9481", addr)
	}
}

// validateFiles sees that the files which are read later can be read now.
func (c *Config) validateFiles(fail config.Fail) {
	if c.HTTP.CertFile != "" && c.HTTP.KeyFile != "" {
		if _, err := tls.LoadX509KeyPair(c.path(c.HTTP.CertFile), c.path(c.HTTP.KeyFile)); err != nil {
			fail("http.cert_file", "%v", err)
		}
	}
	for path, file := range map[string]string{"report.form": c.Report.Form, "contract.calendar_folder": c.Contract.CalendarFolder, "contract_file": c.ContractFile} {
		if file == "" {
			continue
		}
		if _, err := os.Stat(c.path(file)); err != nil {
			fail(path, "%v", err)
		}
	}
	for path, file := range c.Pages.CAFiles() {
		caFile(fail, "pages."+path, c.path(file))
	}
	for i, h := range c.Heartbeat {
		caFile(fail, fmt.Sprintf("heartbeat[%d].ca_file", i), c.path(h.CAFile))
	}
	for i, s := range c.Checks {
		pemFiles(fail, fmt.Sprintf("checks[%d]", i), s, c.path)
	}
}

// pemFiles looks at the files of certificates that a check names.
func pemFiles(fail config.Fail, at string, s check.Spec, path func(string) string) {
	for _, f := range s.PEMFiles() {
		caFile(fail, at+"."+f.Path, path(f.Name))
	}
}

func caFile(fail config.Fail, path, file string) {
	if file == "" {
		return
	}
	b, err := os.ReadFile(file)
	if err != nil {
		fail(path, "%v", err)
	} else if block, _ := pem.Decode(b); block == nil {
		fail(path, "%s holds no PEM certificate", file)
	}
}

// location is the zone that Validate has seen to exist.
func (c *Config) location() *time.Location {
	loc, err := time.LoadLocation(c.Location)
	if err != nil {
		return time.UTC
	}
	return loc
}
