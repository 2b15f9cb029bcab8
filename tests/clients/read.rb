# Reads requests with Rack; input and output as in read.js.
require 'json'
require 'rack'
require 'stringio'

def found(fields)
  %w[api_user api_key].select { |name| fields.key?(name) }.map { |name| "#{name}=#{fields[name].inspect}" }
end

$stdin.each_line do |line|
  input = JSON.parse(line)
  query, body = [input['query'], input['body']].map { |text| text.unpack1('m') }
  env = {
    'REQUEST_METHOD' => input['method'], 'QUERY_STRING' => query, 'CONTENT_LENGTH' => body.bytesize.to_s,
    'rack.input' => StringIO.new(body), 'rack.errors' => StringIO.new
  }
  env['CONTENT_TYPE'] = input['type'] if input['type']
  all = {}
  { 'rack query' => :GET, 'rack' => :POST }.each do |name, method|
    read = found(Rack::Request.new(env).public_send(method))
    all[name] = read unless read.empty?
  rescue StandardError
    # It refuses the request.
  end
  puts JSON.generate(all.transform_values { |read| read.map { |text| text.dup.force_encoding('UTF-8').scrub } })
end
