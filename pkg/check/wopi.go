package check

import (
	"regexp"
	"strings"
)

// wopiKind is Collabora Online, and whatever else opens documents by WOPI.
var wopiKind = documentKind{
	paths: map[string]string{
		"discovery": "/hosting/discovery", "capabilities": "/hosting/capabilities", "convert": "/cool/convert-to/pdf", "socket": "",
	},
	fields:  map[string]string{"available": "convert-to.available", "version": "productVersion"},
	opened:  "{{ id }}|{{ url(id) }}",
	secrets: []string{"token"},
	flow:    (*documentFlow).wopi,
}

func (d *documentFlow) wopi() {
	public := d.Public
	if public == "" {
		public = d.spec.hostOf()
	}
	const action = "app/action[@ext='docx'][@name='edit']/@urlsrc"
	d.add(FlowStep{
		Name: "discovery", ZH: "D1 发现", EN: "D1 discovery", Request: FlowRequest{URL: d.at("discovery")}, Critical: true,
		Expect:  []FlowExpect{{XML: action, Match: "^https?://" + regexp.QuoteMeta(public) + "[/?]"}},
		Extract: map[string]Extract{"editor": {XML: action}},
	}, FlowStep{
		Name: "capabilities", ZH: "D2 能力", EN: "D2 capabilities", Request: FlowRequest{URL: d.at("capabilities")},
		Expect:  []FlowExpect{{JSON: d.field("available"), Equals: new("true")}},
		Extract: map[string]Extract{"version": {JSON: d.field("version")}},
	})
	if !d.Full {
		return
	}
	d.upload()
	source := d.Source + glue(d.Source) + "access_token={{ url(secrets.token) }}"
	d.add(FlowStep{
		Name: "source", ZH: "D5 文件信息回调", EN: "D5 the platform's WOPI side", Request: FlowRequest{URL: source}, Critical: true,
		Expect: []FlowExpect{{JSON: "Size", Equals: new("{{ len(file) }}"), Trouble: Wrong}},
	}, FlowStep{
		Name: "open", ZH: "D5 打开", EN: "D5 open", Slow: slowOpen, Critical: true, Expect: d.openedPage(),
		Request: FlowRequest{Method: "POST", URL: "{{ editor }}WOPISrc=" + escaped(d.Source), Form: map[string]string{"access_token": "{{ secrets.token }}"}},
	})
	d.socket()
	d.add(FlowStep{
		Name: "convert", ZH: "D6 转换", EN: "D6 convert", Request: d.toPDF("{{ file }}"), Slow: slowConvert,
		Expect: append([]FlowExpect{{Match: "^%PDF-"}}, pdfOfThisRun()...),
	})
	d.original()
	d.Control = timed([]FlowStep{{
		Name: "control-broken", ZH: "残缺文档须被拒绝", EN: "a broken document is refused", Request: d.toPDF("{{ broken }}"),
		Expect: []FlowExpect{{Status: answers}, {Refuse: "%PDF-"}},
	}, {
		Name: "control-token", ZH: "错误令牌须被拒绝", EN: "a wrong token is refused", Request: FlowRequest{URL: d.Source + glue(d.Source) + "access_token=wrong-{{ mark }}"},
		Expect: []FlowExpect{{Status: []int{401, 403, 404}}},
	}})
	d.remove()
}

func (d *documentFlow) toPDF(content string) FlowRequest {
	return FlowRequest{
		Method: "POST", URL: d.at("convert"), Files: []FlowFile{{Field: "data", Name: "xunjian-probe.docx", Type: docxType, Content: content}},
	}
}

// glue is what stands before one more parameter.
func glue(url string) string {
	if strings.Contains(url, "?") {
		return "&"
	}
	return "?"
}

// escaped makes a text the value of a parameter: what is fixed in it now, what is worked out later then.
func escaped(text string) string { return "{{ url(" + expression(text) + ") }}" }

// expression makes one expression of a text that holds some.
func expression(text string) string {
	var parts []string
	for text != "" {
		fixed, rest, found := strings.Cut(text, "{{")
		if fixed != "" {
			parts = append(parts, "'"+strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(fixed)+"'")
		}
		if !found {
			break
		}
		inner, after, _ := strings.Cut(rest, "}}")
		parts = append(parts, strings.TrimSpace(inner))
		text = after
	}
	return "concat(" + strings.Join(parts, ", ") + ")"
}
