package check

import "maps"

// wpsKind is the WPS open platform, and its private edition.
var wpsKind = documentKind{
	paths: map[string]string{
		"licence": "/api/developer/v1/license", "link": "/api/developer/v1/office/files/{{ url(id) }}/preview/url",
		"convert": "/api/developer/v1/office/convert/to/pdf", "task": "/api/developer/v1/tasks/{{ task }}",
	},
	fields: map[string]string{
		"code": "code", "link": "data.url", "task": "data.task_id", "status": "data.status", "result": "data.url",
		"licence": "data.expire_time", "version": "data.version", "source": "url",
	},
	opened:  "{{ id }}|{{ url(id) }}",
	secrets: []string{"key"},
	flow:    (*documentFlow).wps,
}

// taskStates are what a WPS task's status means.
var taskStates = map[string]string{"1": "完成 done", "2": "进行中 running", "3": "中断 interrupted", "4": "失败 error", "5": "排队 queued"}

// throttled is the platform's "too many requests": not now is no failure.
const throttled = `"(code|result)"\s*:\s*"?30002\b`

func (d *documentFlow) wps() {
	d.Vars["date"] = "{{ now('http') }}"
	if d.Licence || !d.Full {
		d.add(d.wpsLicence())
	}
	if !d.Full {
		return
	}
	d.upload()
	d.add(FlowStep{
		Name: "link", ZH: "D5 取预览链接", EN: "D5 link", Request: d.signed("GET", d.at("link"), "", "secrets.key"), Throttle: throttled, Critical: true,
		Expect: []FlowExpect{d.good()}, Extract: map[string]Extract{"link": {JSON: d.field("link")}},
	}, FlowStep{
		Name: "open", ZH: "D5 打开", EN: "D5 open", Request: FlowRequest{URL: "{{ link }}"}, Slow: slowOpen, Critical: true, Expect: d.openedPage(),
	})
	d.add(d.wpsConversion("", "secrets.key")...)
	d.add(download("{{ result }}"))
	d.original()
	d.Control = timed([]FlowStep{{
		Name: "control-token", ZH: "错误签名须被拒绝", EN: "a wrong signature is refused", Throttle: throttled,
		Request: d.signed("GET", d.at("link"), "", "concat('wrong-', mark)"),
		Expect:  []FlowExpect{{Status: answers}, {Refuse: `"code"\s*:\s*0\b`}},
	}})
	d.Control = append(d.Control, timed(append(d.replace(), d.wpsBroken()...))...)
	d.remove()
}

// wpsLicence also shows that the platform answers and takes our signature. In a full check others show that.
func (d *documentFlow) wpsLicence() FlowStep {
	step := FlowStep{
		Name: "licence", ZH: "授权证书", EN: "licence", Request: d.signed("GET", d.at("licence"), "", "secrets.key"), Throttle: throttled, Critical: true,
		Expect:  []FlowExpect{d.good(), {JSON: d.field("licence"), Warn: licenceLimits()}},
		Extract: map[string]Extract{"version": {JSON: d.field("version")}},
	}
	if d.Full {
		step.Critical, step.Trouble = false, Warning
	}
	return step
}

// good says that the platform took the request: it answers 200 to nearly everything.
func (d *documentFlow) good() FlowExpect {
	return FlowExpect{JSON: d.field("code"), Equals: new("0"), Means: map[string]string{
		"10002": "签名不符，核对 app 与 key signature refused, look at app and key", "30002": "限流 throttled",
	}}
}

// wpsConversion is D6: an order, and its task until it has ended.
func (d *documentFlow) wpsConversion(prefix, secret string) []FlowStep {
	body := `{"` + d.field("source") + `":{{ json(` + expression(d.Store.fetch()) + `) }}}`
	return []FlowStep{{
		Name: prefix + "convert", ZH: "D6 转换", EN: "D6 convert", Request: d.signed("POST", d.at("convert"), body, secret), Throttle: throttled,
		Expect: []FlowExpect{d.good()}, Extract: map[string]Extract{"task": {JSON: d.field("task")}},
	}, {
		Name: prefix + "task", ZH: "D6 转换任务", EN: "D6 task", Request: d.signed("GET", d.at("task"), "", secret), Throttle: throttled, Slow: slowConvert,
		Until:   &FlowExpect{JSON: d.field("status"), Match: "^[134]$"},
		Expect:  []FlowExpect{{JSON: d.field("status"), Equals: new("1"), Means: taskStates}},
		Extract: map[string]Extract{"result": {JSON: d.field("result")}},
	}}
}

// wpsBroken orders the conversion of the broken document: either the order is refused, or its task fails.
func (d *documentFlow) wpsBroken() []FlowStep {
	steps := d.wpsConversion("control-", "secrets.key")
	steps[0].Expect = []FlowExpect{{Status: answers}}
	steps[0].Extract = map[string]Extract{"task": {Regexp: `"task_id"\s*:\s*"([^"]*)"|$`}}
	steps[1].ZH, steps[1].EN = "残缺文档须被拒绝", "a broken document is refused"
	steps[1].Until = &FlowExpect{Match: `"status"\s*:\s*[134]\b|"code"\s*:\s*[1-9]`}
	steps[1].Expect = []FlowExpect{{Status: answers}, {Refuse: `"status"\s*:\s*1\b`}}
	steps[1].Extract = nil
	return steps
}

// signed makes a request with the platform's signature over what is really sent.
func (d *documentFlow) signed(method, url, body, secret string) FlowRequest {
	r := FlowRequest{Method: method, URL: url, JSON: body, Headers: map[string]string{"Content-Type": "application/json"}}
	own := map[string]string{
		"Wps-Docs-Date": "{{ date }}",
		"Wps-Docs-Authorization": "WPS-4 " + d.App + ":{{ hmac('sha256', " + secret +
			", concat('WPS-4', request_method, request_uri, 'application/json', date, request_digest)) }}",
	}
	if d.Sign == "wps-2" {
		signs := "request_body"
		if method == "GET" {
			signs = "request_uri"
		}
		own = map[string]string{
			"Date": "{{ date }}", "Content-Md5": "{{ md5(" + signs + ") }}",
			"Authorization": "WPS-2:" + d.App + ":{{ sha1(concat(" + secret + ", md5(" + signs + "), 'application/json', date)) }}",
		}
	}
	maps.Copy(r.Headers, own)
	return r
}
