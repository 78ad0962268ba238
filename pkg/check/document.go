package check

import (
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Document is what a check of a cloud document service knows (DOMAIN 1.1): kinds wopi, onlyoffice and wps, each of which makes
// a flow of it. Texts may hold {{ expressions }} as a flow's: {{ name }} and {{ id }} are the document's in the store, {{ file }}
// its bytes, {{ mark }} the nonce in its text.
type Document struct {
	Full    bool              `yaml:"full,omitempty" json:"full,omitempty"`       // with a document of its own, D4 to D8; else only whether the service says it is well
	Store   Store             `yaml:"store,omitempty" json:"store,omitzero"`      // where the document is put for the service
	Public  string            `yaml:"public,omitempty" json:"public,omitempty"`   // wopi: host (and port) of the editor as browsers reach it; default the target's
	Source  string            `yaml:"source,omitempty" json:"source,omitempty"`   // wopi: the document's WOPISrc
	App     string            `yaml:"app,omitempty" json:"app,omitempty"`         // wps: AppId, or access key
	Sign    string            `yaml:"sign,omitempty" json:"sign,omitempty"`       // wps: wps-2 (open platform) or wps-4 (private edition, the default)
	Licence bool              `yaml:"licence,omitempty" json:"licence,omitempty"` // onlyoffice, wps: ask when the licence ends
	Paths   map[string]string `yaml:"paths,omitempty" json:"paths,omitempty"`     // of the service, in place of the kind's own; by the names of the steps
	Fields  map[string]string `yaml:"fields,omitempty" json:"fields,omitempty"`   // where answers hold what is needed, in place of the kind's own: gjson paths
	Opened  string            `yaml:"opened,omitempty" json:"opened,omitempty"`   // regular expression that the editor's page must match
	Refused string            `yaml:"refused,omitempty" json:"refused,omitempty"` // and one that it must not: error pages that come with 200
}

// Store is a place for documents with PUT or POST, GET and DELETE: the platform's own interface, or an object store.
type Store struct {
	URL     string            `yaml:"url,omitempty" json:"url,omitempty"`         // to which the document is sent
	Method  string            `yaml:"method,omitempty" json:"method,omitempty"`   // PUT (default) or POST
	Field   string            `yaml:"field,omitempty" json:"field,omitempty"`     // of a multipart form; empty: the body is the document
	Headers map[string]string `yaml:"headers,omitempty" json:"headers,omitempty"` // of every request to the store
	ID      string            `yaml:"id,omitempty" json:"id,omitempty"`           // gjson path of the document's number in the answer, {{ id }}; empty: its name
	Size    string            `yaml:"size,omitempty" json:"size,omitempty"`       // gjson path of its size in the answer, which must be right
	Item    string            `yaml:"item,omitempty" json:"item,omitempty"`       // the document itself, for GET and DELETE; default URL
	Fetch   string            `yaml:"fetch,omitempty" json:"fetch,omitempty"`     // the same as the service reaches it; default Item
	List    string            `yaml:"list,omitempty" json:"list,omitempty"`       // all documents, for the daily sweep; empty: nothing is swept
	Names   string            `yaml:"names,omitempty" json:"names,omitempty"`     // gjson path of those of them that earlier runs left behind
	Remove  string            `yaml:"remove,omitempty" json:"remove,omitempty"`   // what to DELETE for {{ each }} of these
}

// Mark begins the names of all that probes write, so that people know it and the sweep finds it (DOMAIN 1.0 rule 5).
const Mark = "【监测】"

// Thresholds of DOMAIN 1.1.
const (
	documentStep  = 30 * time.Second // a step that takes longer has failed
	documentTotal = 2 * time.Minute
	slowOpen      = 3 * time.Second
	slowConvert   = 10 * time.Second
	slowDocument  = 20 * time.Second
)

// documentKind is what one kind of document service adds.
type documentKind struct {
	paths, fields map[string]string // the product's own
	opened        string
	secrets       []string // that a full check needs
	flow          func(d *documentFlow)
}

var documentKinds = map[string]documentKind{"wopi": wopiKind, "onlyoffice": onlyOfficeKind, "wps": wpsKind}

// documentDefaults are the schedule and thresholds of DOMAIN 1.1.
func (s Spec) documentDefaults() Spec {
	every, timeout, slow := time.Minute, documentStep, slowOpen
	if s.Document.Full {
		every, timeout, slow = 5*time.Minute, documentTotal, slowDocument
	}
	if s.Every == 0 {
		s.Every = every
	}
	if s.Timeout == 0 {
		s.Timeout = min(timeout, s.Every/2)
	}
	if s.Slow == 0 {
		s.Slow = min(slow, s.Timeout)
	}
	return s
}

func (s Spec) validateDocument(fail failAt) {
	s.validateURL(fail)
	d, kind := s.Document, documentKinds[s.Kind]
	if s.Flow != nil {
		fail("flow", "kind %s makes its own flow: leave this out, or use kind flow", s.Kind)
	}
	validateKeys(fail, "document.paths", d.Paths, kind.paths)
	validateKeys(fail, "document.fields", d.Fields, kind.fields)
	validatePattern(fail, "document.refused", d.Refused)
	if !strings.Contains(d.Opened, "{{") {
		validatePattern(fail, "document.opened", d.Opened)
	}
	if !slices.Contains([]string{"", "wps-2", "wps-4"}, d.Sign) {
		fail("document.sign", "%q: want wps-2 or wps-4", d.Sign)
	}
	if s.Kind == "wps" && d.App == "" {
		fail("document.app", "missing: want the AppId, or the access key")
	}
	if d.Full {
		d.Store.validate(fail)
	}
	if s.Kind == "wopi" && d.Full && d.Source == "" {
		fail("document.source", "missing: want the document's WOPISrc, as https://oa.example.org/wopi/files/{{ id }}")
	}
	for _, name := range kind.secrets {
		if _, ok := s.Secrets[name]; !ok && (d.Full || s.Kind == "wps") {
			fail("secrets."+name, "missing: kind %s needs it", s.Kind)
		}
	}
}

func validateKeys(fail failAt, path string, given, known map[string]string) {
	for _, key := range slices.Sorted(maps.Keys(given)) {
		if _, ok := known[key]; !ok {
			fail(path+"."+key, "not known here: want one of %s", strings.Join(slices.Sorted(maps.Keys(known)), ", "))
		}
	}
}

func (s Store) validate(fail failAt) {
	if s.URL == "" {
		fail("document.store.url", "missing: want where documents are put, as https://oa.example.org/files/{{ url(name) }}")
	}
	if s.Method != "" && s.Method != "PUT" && s.Method != "POST" {
		fail("document.store.method", "%q: want PUT or POST", s.Method)
	}
	if s.ID != "" && s.Item == "" {
		fail("document.store.item", "missing: want the document's own URL, as https://oa.example.org/files/{{ id }}")
	}
	if (s.List == "") != (s.Names == "") || (s.List == "") != (s.Remove == "") {
		fail("document.store.list", "give list, names and remove together")
	}
}

// documentFlow is a flow in the making.
type documentFlow struct {
	Flow
	spec Spec
	Document
	kind documentKind
}

// documentFlow is nil for other kinds.
func (s Spec) documentFlow() *Flow {
	kind, ok := documentKinds[s.Kind]
	if !ok {
		return nil
	}
	d := &documentFlow{spec: s, Document: s.Document, kind: kind}
	// The words of error pages stand in every editor's own texts.
	d.Marks = new("")
	d.Vars = map[string]string{}
	if d.Full {
		const text = `concat('` + Mark + `云文档探测 document probe\n', mark)`
		d.Vars["mark"] = "{{ nonce(32) }}"
		d.Vars["name"] = Mark + "{{ now('yyyyMMddHHmmss', '0s', 'UTC') }}-{{ mark }}.docx"
		d.Vars["file"] = "{{ docx(" + text + ") }}"
		d.Vars["broken"] = "{{ broken_docx(" + text + ") }}"
	}
	kind.flow(d)
	return &d.Flow
}

// at is a URL of the service; paths are relative to the target.
func (d *documentFlow) at(step string) string {
	path := d.kind.paths[step]
	if own := d.Paths[step]; own != "" {
		path = own
	}
	if strings.HasPrefix(path, "/") {
		return "{{ target }}" + path
	}
	return path
}

// field is where an answer holds something.
func (d *documentFlow) field(name string) string {
	if own := d.Fields[name]; own != "" {
		return own
	}
	return d.kind.fields[name]
}

// add puts steps into the flow; none of them may take longer than a step may.
func (d *documentFlow) add(steps ...FlowStep) { d.Steps = append(d.Steps, timed(steps)...) }

func timed(steps []FlowStep) []FlowStep {
	for i := range steps {
		steps[i].Timeout = documentStep
	}
	return steps
}

// opened asserts on the editor's page.
func (d *documentFlow) openedPage() []FlowExpect {
	refused := d.Refused
	if refused == "" {
		refused = `(?i)打开失败|无法打开|data-error-code="[1-9]`
	}
	opened := d.Opened
	if opened == "" {
		opened = d.kind.opened
	}
	return []FlowExpect{{Refuse: refused}, {Match: opened}}
}

// socket is the connection over which people edit, where the check has its path: an editor whose proxies do not let it through
// opens, and then stays empty. The answer must be made of this run's key (RFC 6455, 4.2.2).
func (d *documentFlow) socket() {
	if d.at("socket") == "" {
		return
	}
	const key, answer = "base64(socket_key)", "{{ base64(unhex(sha1(concat(base64(socket_key), '258EAFA5-E914-47DA-95CA-C5AB0DC85B11')))) }}"
	d.Vars["socket_key"] = "{{ nonce(16) }}"
	d.add(FlowStep{
		Name: "socket", ZH: "D5 协同连接", EN: "D5 editing connection", Critical: true,
		Request: FlowRequest{URL: d.at("socket"), Headers: map[string]string{
			"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "{{ " + key + " }}",
		}},
		Expect: []FlowExpect{{Status: []int{101}}, {Header: "Sec-WebSocket-Accept", Equals: new(answer)}},
	})
}

// item is the document in the store, fetch the same for the service.
func (s Store) item() string {
	if s.Item != "" {
		return s.Item
	}
	return s.URL
}

func (s Store) fetch() string {
	if s.Fetch != "" {
		return s.Fetch
	}
	return s.item()
}

func (s Store) request(method, url string) FlowRequest {
	return FlowRequest{Method: method, URL: url, Headers: maps.Clone(s.Headers), Redirect: new(0)}
}

const docxType = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"

// put sends a variable's document to the store.
func (s Store) put(name, title, file string) FlowStep {
	method := s.Method
	if method == "" {
		method = "PUT"
	}
	r := s.request(method, s.URL)
	if s.Field != "" {
		r.Files = []FlowFile{{Field: s.Field, Name: "xunjian-probe.docx", Type: docxType, Content: file}}
	} else {
		r.Body = file
		if r.Headers == nil {
			r.Headers = map[string]string{}
		}
		r.Headers["Content-Type"] = docxType
	}
	step := FlowStep{Name: name, ZH: title, Request: r, Critical: true}
	if s.ID != "" {
		step.Extract = map[string]Extract{"id": {JSON: s.ID}}
	}
	return step
}

// upload is D4.
func (d *documentFlow) upload() {
	s := d.Store
	step := s.put("upload", "D4 上传", "{{ file }}")
	step.EN = "D4 upload"
	if s.Size != "" {
		step.Expect = []FlowExpect{{JSON: s.Size, Equals: new("{{ len(file) }}"), Trouble: Wrong}}
	}
	d.add(step)
	if s.ID == "" {
		d.Vars["id"] = "{{ name }}"
	}
}

// original is D7's other half: what is in the store is what was put there.
func (d *documentFlow) original() {
	d.add(FlowStep{
		Name: "original", ZH: "D7 取回原件", EN: "D7 original", Request: d.Store.request("GET", d.Store.item()), Critical: true,
		Expect: []FlowExpect{{SHA256: "{{ sha256(file) }}", Trouble: Wrong}},
	})
}

// download is D7 of the result: a PDF of at least a page with this run's nonce in its text. Anything else is another file.
func download(url string) FlowStep {
	return FlowStep{
		Name: "download", ZH: "D7 下载 PDF", EN: "D7 download PDF", Request: FlowRequest{URL: url}, Critical: true, Expect: pdfOfThisRun(),
	}
}

func pdfOfThisRun() []FlowExpect {
	return []FlowExpect{{PDF: true, Match: "{{ mark }}", Trouble: Wrong}}
}

// remove is D8, and the sweep.
func (d *documentFlow) remove() {
	s := d.Store
	gone := []int{404, 410}
	removed := []FlowExpect{{Status: append([]int{200, 202, 204}, gone...)}}
	d.Finally = timed([]FlowStep{
		{Name: "delete", ZH: "D8 删除", EN: "D8 delete", Request: s.request("DELETE", s.item()), Expect: removed},
		{Name: "gone", ZH: "D8 删除核验", EN: "D8 deletion verified", Request: s.request("GET", s.item()), Expect: []FlowExpect{{Status: gone}}},
	})
	if s.List == "" {
		return
	}
	d.Sweep = timed([]FlowStep{
		{Name: "leftovers", ZH: "遗留清单", EN: "leftovers", Request: s.request("GET", s.List), Extract: map[string]Extract{"leftovers": {JSON: s.Names}}},
		{Name: "sweep", ZH: "清除遗留", EN: "sweep", Each: "{{ leftovers }}", Request: s.request("DELETE", s.Remove), Expect: removed},
	})
}

// answers are all statuses with which a service may refuse.
var answers = []int{200, 400, 401, 403, 404, 405, 406, 409, 413, 415, 422, 500, 501, 503}

// hostOf is the target's host with its port.
func (s Spec) hostOf() string {
	u, err := url.Parse(s.Target)
	if err != nil {
		return ""
	}
	return u.Host
}
