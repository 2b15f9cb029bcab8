// Reads requests with Go's net/http; input and output as in read.js.
package main

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
)

type input struct {
	Query, Body, Method string
	Type                *string
}

func found(fields url.Values, files []string) []string {
	var read []string
	for _, name := range []string{"api_user", "api_key"} {
		for _, value := range fields[name] {
			read = append(read, name+"="+value)
		}
		for _, file := range files {
			if file == name {
				read = append(read, name+"=file")
			}
		}
	}
	return read
}

// As http.Request.MultipartReader is used: each part as it comes, also without the final boundary.
func parts(request *http.Request) (url.Values, []string) {
	fields := url.Values{}
	reader, err := request.MultipartReader()
	if err != nil {
		return fields, nil
	}
	for {
		part, err := reader.NextPart()
		if err != nil {
			return fields, nil
		}
		value, _ := io.ReadAll(part)
		fields.Add(part.FormName(), string(value))
	}
}

func main() {
	lines := bufio.NewReader(os.Stdin)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return
		}
		var input input
		if err := json.Unmarshal(line, &input); err != nil {
			panic(err)
		}
		query, _ := base64.StdEncoding.DecodeString(input.Query)
		body, _ := base64.StdEncoding.DecodeString(input.Body)
		request := func() *http.Request {
			request := &http.Request{Method: input.Method, URL: &url.URL{RawQuery: string(query)}, Header: http.Header{}}
			request.Body = io.NopCloser(bytes.NewReader(body))
			request.ContentLength = int64(len(body))
			if input.Type != nil {
				request.Header.Set("Content-Type", *input.Type)
			}
			return request
		}
		all := map[string][]string{}
		note := func(name string, read []string) {
			if len(read) > 0 {
				all[name] = read
			}
		}
		note("go query", found(request().URL.Query(), nil))
		form := request()
		_ = form.ParseMultipartForm(1 << 20)
		var files []string
		if form.MultipartForm != nil {
			for name := range form.MultipartForm.File {
				files = append(files, name)
			}
		}
		note("go", found(form.PostForm, files))
		fields, _ := parts(request())
		note("go parts", found(fields, nil))
		text, _ := json.Marshal(all)
		fmt.Println(string(text))
	}
}
