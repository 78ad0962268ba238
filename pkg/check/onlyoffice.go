package check

// onlyOfficeKind is ONLYOFFICE Docs.
var onlyOfficeKind = documentKind{
	paths: map[string]string{
		"health": "/healthcheck", "open": "/web-apps/apps/api/documents/api.js", "convert": "/converter", "command": "/command", "socket": "",
	},
	fields: map[string]string{"version": "version", "licence": "license.end_date"},
	opened: "DocsAPI",
	flow:   (*documentFlow).onlyOffice,
}

// converterErrors are what ONLYOFFICE's converter means.
var converterErrors = map[string]string{
	"-1":  "未知错误 unknown",
	"-2":  "转换超时 conversion timed out",
	"-3":  "转换失败 conversion failed",
	"-4":  "下载失败，存储不可达 download failed, the store cannot be reached",
	"-5":  "文档有密码 password needed",
	"-6":  "数据库错误 database",
	"-7":  "请求有误 bad input",
	"-8":  "令牌无效，核对 jwt 密钥 invalid token, look at the secret jwt",
	"-9":  "格式不支持 format",
	"-10": "文档过大 too large",
}

func (d *documentFlow) onlyOffice() {
	d.add(FlowStep{
		// The product answers 200 whatever its health: the body is the verdict.
		Name: "health", ZH: "D3 健康", EN: "D3 health", Request: FlowRequest{URL: d.at("health")}, Critical: true,
		Expect: []FlowExpect{{Equals: new("true"), Trouble: Down}},
	}, FlowStep{
		Name: "version", ZH: "D2 版本", EN: "D2 version", Request: d.order(d.at("command"), `"c":"version"`, "secrets.jwt"), Trouble: Warning,
		Expect:  []FlowExpect{{JSON: "error", Equals: new("0")}},
		Extract: map[string]Extract{"version": {JSON: d.field("version")}},
	})
	if d.Licence {
		d.add(FlowStep{
			Name: "licence", ZH: "许可证", EN: "licence", Request: d.order(d.at("command"), `"c":"license"`, "secrets.jwt"), Trouble: Warning,
			Expect: []FlowExpect{{JSON: d.field("licence"), Warn: licenceLimits()}},
		})
	}
	if !d.Full {
		return
	}
	d.upload()
	d.add(FlowStep{
		Name: "open", ZH: "D5 打开", EN: "D5 open", Request: FlowRequest{URL: d.at("open")}, Slow: slowOpen, Critical: true, Expect: d.openedPage(),
	})
	d.socket()
	d.add(FlowStep{
		Name: "convert", ZH: "D6 转换", EN: "D6 convert", Request: d.conversion("mark", "secrets.jwt"), Slow: slowConvert,
		Until:   &FlowExpect{Match: `"endConvert"\s*:\s*true|"error"`},
		Expect:  []FlowExpect{{JSON: "error", Refuse: `^-?\d+$`, Means: converterErrors}, {JSON: "endConvert", Equals: new("true")}},
		Extract: map[string]Extract{"result": {JSON: "fileUrl"}},
	}, download("{{ result }}"))
	d.original()
	d.onlyOfficeControl()
	d.remove()
}

func licenceLimits() *Limits {
	return &Limits{Name: "licence", Minor: "30d", General: "7d", Urgent: "0d"}
}

// order is a JSON request, with a token in it and in the header where there is a secret to sign with.
func (d *documentFlow) order(url, members, secret string) FlowRequest {
	r := FlowRequest{URL: url, Headers: map[string]string{"Accept": "application/json"}}
	if _, ok := d.spec.Secrets["jwt"]; !ok {
		r.JSON = "{" + members + "}"
		return r
	}
	claims := expression("{" + members + "}")
	r.JSON = "{" + members + `,"token":"{{ jwt(` + secret + ", " + claims + `) }}"}`
	r.Headers["Authorization"] = "Bearer {{ jwt(" + secret + ", concat('{\"payload\":', " + claims + ", '}')) }}"
	return r
}

// conversion has the nonce for its key: the service keeps results by it.
func (d *documentFlow) conversion(key, secret string) FlowRequest {
	return d.order(d.at("convert"), `"async":true,"filetype":"docx","outputtype":"pdf","title":"xunjian-probe.docx","key":{{ json(`+key+`) }},"url":{{ json(`+
		expression(d.Store.fetch())+`) }}`, secret)
}

// onlyOfficeControl puts a broken document in the whole one's place.
func (d *documentFlow) onlyOfficeControl() {
	steps := []FlowStep{}
	if _, ok := d.spec.Secrets["jwt"]; ok {
		steps = append(steps, FlowStep{
			Name: "control-token", ZH: "错误令牌须被拒绝", EN: "a wrong token is refused", Request: d.conversion("concat(mark, 't')", "concat('wrong-', mark)"),
			Expect: []FlowExpect{{Status: answers}, {Refuse: "endConvert|fileUrl"}},
		})
	}
	d.Control = timed(append(steps, d.replace()...))
	d.Control = append(d.Control, timed([]FlowStep{{
		Name: "control-broken", ZH: "残缺文档须被拒绝", EN: "a broken document is refused", Request: d.conversion("concat(mark, 'b')", "secrets.jwt"),
		Until:  &FlowExpect{Match: `"endConvert"\s*:\s*true|"error"`},
		Expect: []FlowExpect{{Status: answers}, {JSON: "error", Match: `^-\d+$`}, {Refuse: "fileUrl"}},
	}})...)
}

// replace takes the whole document away and puts the broken one there; Finally then removes that.
func (d *documentFlow) replace() []FlowStep {
	return []FlowStep{
		{
			Name: "control-delete", ZH: "移除完整文档", EN: "the whole document is removed", Request: d.Store.request("DELETE", d.Store.item()),
			Expect: []FlowExpect{{Status: []int{200, 202, 204}}}, Critical: true,
		},
		d.Store.put("control-upload", "上传残缺文档", "{{ broken }}"),
	}
}
