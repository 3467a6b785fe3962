# A shop's prices: the smallest application that has something to compute.
require 'bigdecimal'
require 'json'
require 'rack'

# The price of so many pieces: /total?price=1.25&pieces=4 is 5.00.
def total(query)
  format('%.2f', BigDecimal(query.fetch('price')) * Integer(query.fetch('pieces')))
end

run lambda { |env|
  request = Rack::Request.new(env)
  case request.path
  when '/healthz'
    [200, { 'content-type' => 'text/plain' }, ["ok\n"]]
  when '/total'
    begin
      [200, { 'content-type' => 'application/json' }, [JSON.generate(total: total(request.params))]]
    rescue KeyError, ArgumentError
      [400, {}, []]
    end
  else
    [404, {}, []]
  end
}
