-- O protocolo da Fila de Atendimento no Wireshark e no tshark.
--
-- Mostra cada linha como um comando, venha ela inteira num segmento, partida entre vários ou junto de outras,
-- nos dois formatos de fio (texto e JSON). Como instalar e o que procurar: README.md, nesta pasta.

local fila = Proto("fila", "Fila de Atendimento")

local campos = {
  comando = ProtoField.string("fila.comando", "Comando"),
  argumento = ProtoField.string("fila.argumento", "Argumento"),
  remetente = ProtoField.string("fila.remetente", "Remetente"),
  texto = ProtoField.string("fila.texto", "Texto"),
  formato = ProtoField.string("fila.formato", "Formato"),
}
fila.fields = { campos.comando, campos.argumento, campos.remetente, campos.texto, campos.formato }

local avisos = {
  nao_entendida = ProtoExpert.new("fila.nao_entendida", "Linha que o protocolo não tem", expert.group.MALFORMED, expert.severity.WARN),
  sem_fim = ProtoExpert.new("fila.sem_fim", "Linha longa demais", expert.group.MALFORMED, expert.severity.WARN),
}
fila.experts = { avisos.nao_entendida, avisos.sem_fim }

local PORTA = 12345
local MAXIMO = 32768 -- bytes sem um \n até se desistir de esperar por ele: o maior JSON do servidor

local fluxo_tcp = Field.new("tcp.stream")

-- O que se sabe de cada conexão TCP, pelo número que o Wireshark lhe dá. Só vale na primeira passada, em que
-- os pacotes vêm na ordem: depois o Wireshark volta a cada um como quiser, e o que se entendeu fica em `lidas`.
local conexoes = {}
local lidas = {}

function fila.init()
  conexoes, lidas = {}, {}
end

-- JSON -------------------------------------------------------------------------------------------------------

local json = {}

local ESCAPES = { b = "\b", f = "\f", n = "\n", r = "\r", t = "\t", ['"'] = '"', ["\\"] = "\\", ["/"] = "/" }

local function utf8(ponto)
  if ponto < 0x80 then return string.char(ponto) end
  local bytes, limite = {}, 0x40
  repeat
    table.insert(bytes, 1, string.char(0x80 + ponto % 64))
    ponto, limite = math.floor(ponto / 64), limite / 2
  until ponto < limite
  table.insert(bytes, 1, string.char(256 - 2 * limite + ponto))
  return table.concat(bytes)
end

local function cadeia(s, i)
  local partes = {}
  while true do
    local fim = s:find('["\\]', i) or error("aspas abertas")
    table.insert(partes, s:sub(i, fim - 1))
    if s:sub(fim, fim) == '"' then return table.concat(partes), fim + 1 end
    local escape = s:sub(fim + 1, fim + 1)
    if escape == "u" then
      local ponto = tonumber(s:match("^%x%x%x%x", fim + 2) or error("escape"), 16)
      i = fim + 6
      local baixo = ponto >= 0xD800 and ponto < 0xDC00 and s:match("^\\u([dD][c-fC-F]%x%x)", i)
      if baixo then
        ponto, i = 0x10000 + (ponto - 0xD800) * 0x400 + tonumber(baixo, 16) - 0xDC00, i + 6
      elseif ponto >= 0xD800 and ponto < 0xE000 then
        ponto = 0xFFFD
      end
      table.insert(partes, utf8(ponto))
    else
      table.insert(partes, ESCAPES[escape] or error("escape"))
      i = fim + 2
    end
  end
end

-- Cada leitor recebe o texto e a posição, e devolve o valor e a posição seguinte.
function json.valor(s, i, fundo)
  i = s:find("%S", i) or error("acabou antes da hora")
  if fundo > 32 then error("fundo demais") end
  local letra = s:sub(i, i)
  if letra == '"' then return cadeia(s, i + 1) end
  if letra == "{" or letra == "[" then return json.itens(s, i + 1, fundo + 1, letra == "{") end
  local palavra = s:match("^[%w%.%+%-]+", i) or error("valor")
  if palavra == "true" or palavra == "false" or palavra == "null" then return palavra == "true", i + #palavra end
  return tonumber(palavra) or error("valor"), i + #palavra
end

function json.itens(s, i, fundo, objeto)
  local itens, fecho = {}, objeto and "}" or "]"
  i = s:find("%S", i) or error("acabou antes da hora")
  if s:sub(i, i) == fecho then return itens, i + 1 end
  while true do
    local chave, valor = #itens + 1
    if objeto then
      i = s:match('^%s*"()', i) or error("chave")
      chave, i = cadeia(s, i)
      i = s:match("^%s*:()", i) or error("dois-pontos")
    end
    valor, i = json.valor(s, i, fundo)
    itens[chave] = valor
    local separador
    separador, i = s:match("^%s*([,%]}])()", i)
    if separador == fecho then return itens, i end
    if separador ~= "," then error("vírgula") end
  end
end

local function objeto_de(linha)
  local certo, valor, depois = pcall(json.valor, linha, 1, 0)
  if certo and type(valor) == "table" and type(valor.comando) == "string" and not linha:find("%S", depois) then
    return valor
  end
end

-- As linhas --------------------------------------------------------------------------------------------------

local PEDIDOS = { FIM = true, FILA = true, PAUSA = true, VOLTA = true, TRANSFERIR = true }
local DO_SERVIDOR = { NOME = true, SENHA = true, DEPARTAMENTO = true, FILA = true, CONECTADO = true, FIM = true, AVISO = true }
local PERGUNTAS = { NOME = true, SENHA = true, DEPARTAMENTO = true }

-- Quem é o servidor: quem se conecta fala primeiro, a não ser que seja recusado antes de falar.
local function conexao_de(fluxo, porta, linha)
  if not conexoes[fluxo] then
    local recusa = linha:match("^FIM:") or linha:match('^{"comando":"fim"')
    conexoes[fluxo] = { porta = not recusa and porta or nil, perguntas = {}, json = linha:sub(1, 1) == "{" }
  end
  return conexoes[fluxo]
end

local function ler_texto(linha, conexao, do_cliente)
  local palavra, argumento = linha:match("^(%u+):(.*)$")
  if not do_cliente then
    local nome, texto = linha:match("^%[([^%]]*)%]: (.*)$")
    if nome then return { comando = "MENSAGEM", remetente = nome, texto = texto } end
    if DO_SERVIDOR[palavra] then return { comando = palavra, argumento = argumento } end
    return { comando = "?", argumento = linha, estranha = true }
  end
  if not conexao.tipo then
    local tipo, departamento = linha:match("^%s*(%u+):?(.-)%s*$")
    conexao.tipo = (tipo == "CLIENTE" or tipo == "ATENDENTE") and tipo or "?"
    if conexao.tipo == "?" then return { comando = "?", argumento = linha, estranha = true } end
    return { comando = tipo, argumento = departamento }
  end
  if not conexao.identificada then
    -- A pergunta pode ainda não ter chegado: nada impede que quem se conecta responda antes.
    local pergunta = table.remove(conexao.perguntas, 1)
    if not pergunta then conexao.adiantadas = (conexao.adiantadas or 0) + 1 end
    if pergunta == "NOME" then conexao.nome = linha end
    return { comando = "RESPOSTA", argumento = pergunta == "SENHA" and "(senha)" or linha }
  end
  if PEDIDOS[palavra] and (argumento == "" or palavra == "FIM" or palavra == "TRANSFERIR") then
    return { comando = palavra, argumento = argumento }
  end
  local nome, texto = linha:match("^%[([^%]]*)%]: (.*)$")
  if nome and (not conexao.nome or nome == conexao.nome) then
    return { comando = "MENSAGEM", remetente = nome, texto = texto }
  end
  return { comando = "MENSAGEM", remetente = conexao.nome, texto = linha }
end

-- Uma lista de textos, separados por vírgulas; um texto sozinho é ele mesmo.
local function juntos(valor)
  if type(valor) ~= "table" then return valor end
  local textos = {}
  for _, item in ipairs(valor) do
    if type(item) == "string" then table.insert(textos, item) end
  end
  return table.concat(textos, ",")
end

local function ler_json(linha, conexao, do_cliente)
  local objeto = objeto_de(linha)
  if not objeto then return { comando = "?", argumento = linha, estranha = true } end
  local comando = objeto.comando:upper()
  if comando == "MENSAGEM" then
    return { comando = comando, remetente = not do_cliente and objeto.nome or conexao.nome, texto = objeto.texto }
  end
  if do_cliente and objeto.nome then conexao.nome = objeto.nome end
  local argumento = objeto.mensagem or objeto.posicao or juntos(objeto.opcoes or objeto.departamento)
  if comando == "FILA" and not do_cliente and not argumento then argumento = "OK" end -- a posição é null
  if objeto.senha then argumento = "(senha)" end
  argumento = objeto.nome or argumento
  return { comando = comando, argumento = type(argumento) == "number" and tostring(argumento) or argumento }
end

local function ler(linha, conexao, do_cliente)
  linha = linha:gsub("\r$", "")
  local lida = (conexao.json and ler_json or ler_texto)(linha, conexao, do_cliente)
  lida.formato = conexao.json and "json" or "texto"
  if not do_cliente and PERGUNTAS[lida.comando] then
    if (conexao.adiantadas or 0) > 0 then
      conexao.adiantadas = conexao.adiantadas - 1
    else
      table.insert(conexao.perguntas, lida.comando)
    end
  elseif not do_cliente and lida.comando ~= "AVISO" then
    conexao.identificada = true
  end
  return lida
end

-- O dissector ------------------------------------------------------------------------------------------------

local function mostrar(lida, trecho, arvore)
  local ramo = arvore:add(fila, trecho)
  for _, nome in ipairs({ "comando", "argumento", "remetente", "texto", "formato" }) do
    if type(lida[nome]) == "string" and (lida[nome] ~= "" or nome == "texto") then
      ramo:add(campos[nome], trecho, lida[nome])
    end
  end
  local resumo = lida.comando
  if lida.texto then
    resumo = string.format("[%s]: %s", lida.remetente or "?", lida.texto)
  elseif lida.argumento and lida.argumento ~= "" then
    resumo = string.format("%s:%s", lida.comando, lida.argumento)
  end
  ramo:set_text("Fila de Atendimento, " .. resumo)
  if lida.estranha then ramo:add_proto_expert_info(avisos.nao_entendida) end
  return resumo
end

function fila.dissector(tvb, pinfo, arvore)
  pinfo.cols.protocol = "FILA"
  local fluxo, resumos, inicio, tamanho = fluxo_tcp().value, {}, 0, tvb:len()
  local bytes = tvb:raw()
  while inicio < tamanho do
    local quebra = bytes:find("\n", inicio + 1, true)
    if not quebra then
      if tamanho - inicio <= MAXIMO then
        -- Meia linha: o Wireshark guarda estes bytes e chama de novo com os do segmento seguinte junto.
        pinfo.desegment_offset, pinfo.desegment_len = inicio, DESEGMENT_ONE_MORE_SEGMENT
      else
        arvore:add(fila, tvb(inicio)):add_proto_expert_info(avisos.sem_fim)
      end
      break
    end
    local linha = bytes:sub(inicio + 1, quebra - 1)
    local chave = string.format("%d:%d:%s", pinfo.number, inicio, linha)
    if not lidas[chave] then
      local conexao = conexao_de(fluxo, pinfo.src_port, linha)
      lidas[chave] = ler(linha, conexao, pinfo.src_port == conexao.porta)
      lidas[chave].sentido = pinfo.src_port == conexao.porta and "→" or "←"
    end
    local resumo = mostrar(lidas[chave], tvb(inicio, quebra - inicio), arvore)
    table.insert(resumos, lidas[chave].sentido .. " " .. resumo)
    inicio = quebra
  end
  if #resumos > 0 then pinfo.cols.info = table.concat(resumos, "  |  ") end
  return tamanho
end

local portas = DissectorTable.get("tcp.port")
portas:add(PORTA, fila)
portas:add_for_decode_as(fila)
