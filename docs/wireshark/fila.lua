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

local function aviso(nome, descricao)
  return ProtoExpert.new("fila." .. nome, descricao, expert.group.MALFORMED, expert.severity.WARN)
end
local avisos = {
  nao_entendida = aviso("nao_entendida", "Linha que o protocolo não tem"),
  longa = aviso("longa", "Linha longa demais: o servidor a descarta"),
  incompleta = aviso("incompleta", "Linha sem o seu fim: não vale como mensagem"),
}
fila.experts = { avisos.nao_entendida, avisos.longa, avisos.incompleta }

local PORTA = 12345
local MAXIMO = 4096 -- bytes de uma linha de quem se conecta, com o \n; o servidor descarta as maiores
local ESPERA = 32768 -- bytes sem um \n até se desistir de esperar por ele: o maior JSON do servidor
local SEM_FORMA = "\239\191\189" -- U+FFFD, em UTF-8

local fluxo_tcp = Field.new("tcp.stream")
local syn, ack = Field.new("tcp.flags.syn"), Field.new("tcp.flags.ack")
local fin, rst = Field.new("tcp.flags.fin"), Field.new("tcp.flags.reset")

-- O que se sabe de cada conexão TCP, pelo número que o Wireshark lhe dá. Só vale na primeira passada, em que
-- os pacotes vêm na ordem: depois o Wireshark volta a cada um como quiser, e o que se entendeu fica em `lidas`.
local conexoes = {}
local servidores = {} -- a porta de quem recebeu o SYN
local lidas = {}

function fila.init()
  conexoes, servidores, lidas = {}, {}, {}
end

-- UTF-8 ------------------------------------------------------------------------------------------------------

local function em_utf8(ponto)
  if ponto == 0 or ponto >= 0xD800 and ponto < 0xE000 then return SEM_FORMA end
  if ponto < 0x80 then return string.char(ponto) end
  local bytes, limite = {}, 0x40
  repeat
    table.insert(bytes, 1, string.char(0x80 + ponto % 64))
    ponto, limite = math.floor(ponto / 64), limite / 2
  until ponto < limite
  table.insert(bytes, 1, string.char(256 - 2 * limite + ponto))
  return table.concat(bytes)
end

-- O primeiro byte de um caractere diz quantos o seguem; e nem tudo o que assim se forma é um caractere.
local function conferir(primeiro, seguem)
  local p, s = primeiro:byte() or 0, seguem:byte() or 0
  local quantos = p > 244 and 0 or p >= 240 and 3 or p >= 224 and 2 or p >= 194 and 1 or 0
  local falso = p == 224 and s < 160 or p == 237 and s > 159 or p == 240 and s < 144 or p == 244 and s > 143
  if quantos == 0 or #seguem < quantos or falso then return SEM_FORMA:rep(#primeiro + #seguem) end
  return primeiro .. seguem:sub(1, quantos) .. SEM_FORMA:rep(#seguem - quantos)
end

-- O que não é UTF-8 vira U+FFFD, como no servidor; e também o NUL, em que as cadeias do Wireshark acabam.
local function limpar(bytes)
  local function trecho(altos) return (altos:gsub("([\192-\255]?)([\128-\191]*)", conferir)) end
  return (bytes:gsub("\0", SEM_FORMA):gsub("[\128-\255]+", trecho))
end

-- O que mudaria a tela de quem olha, ou forjaria uma linha da lista de pacotes, se mostra escapado: controles, quebras
-- de linha (do JSON, que as pode trazer) e os caracteres que invertem a direção do texto. Em UTF-8, um padrão por linha.
local INVISIVEIS = {
  "[\1-\31\127]",
  "\194[\128-\159]", -- U+0080 a U+009F: controles
  "\216\156", -- U+061C
  "\226\128[\139-\143\168-\174]", -- U+200B a U+200F, U+2028 a U+202E: sem largura, direção, quebras de linha
  "\226\129[\160-\175]", -- U+2060 a U+206F: sem largura, direção
  "\239\187\191", -- U+FEFF
}

local function escapado(letra)
  local a, b, c = letra:byte(1, 3)
  if not b then return string.format("\\x%02x", a) end
  return string.format("\\u%04x", c and (a % 16) * 4096 + (b % 64) * 64 + c % 64 or (a % 32) * 64 + b % 64)
end

local function visivel(texto)
  for _, padrao in ipairs(INVISIVEIS) do texto = texto:gsub(padrao, escapado) end
  return texto
end

-- JSON -------------------------------------------------------------------------------------------------------

local json = {}

local MAXIMO_DE_NIVEIS = 100 -- o mesmo do servidor
local ESCAPES = { b = "\b", f = "\f", n = "\n", r = "\r", t = "\t", ['"'] = '"', ["\\"] = "\\", ["/"] = "/" }

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
      end
      table.insert(partes, em_utf8(ponto))
    else
      table.insert(partes, ESCAPES[escape] or error("escape"))
      i = fim + 2
    end
  end
end

-- Cada leitor recebe o texto e a posição, e devolve o valor e a posição seguinte.
function json.valor(s, i, fundo)
  i = s:find("%S", i) or error("acabou antes da hora")
  if fundo > MAXIMO_DE_NIVEIS then error("fundo demais") end
  local letra = s:sub(i, i)
  if letra == '"' then return cadeia(s, i + 1) end
  if letra == "{" or letra == "[" then return json.itens(s, i + 1, fundo + 1, letra == "{") end
  local palavra = s:match("^[%w%.%+%-]+", i) or error("valor")
  if palavra == "true" or palavra == "false" or palavra == "null" then return palavra == "true", i + #palavra end
  return palavra:find("^%-?%d[%d.eE+-]*$") and tonumber(palavra) or error("valor"), i + #palavra
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

local function conjunto(palavras)
  local itens = {}
  for palavra in palavras:gmatch("%S+") do itens[palavra] = true end
  return itens
end

local DO_SERVIDOR = conjunto("NOME SENHA DEPARTAMENTO FILA CONECTADO FIM AVISO")
local PERGUNTAS = conjunto("NOME SENHA DEPARTAMENTO")
local PEDIDOS = conjunto("FIM FILA PAUSA VOLTA TRANSFERIR PRONTO")
local COM_ARGUMENTO = conjunto("FIM TRANSFERIR")

local function conexao_de(fluxo)
  conexoes[fluxo] = conexoes[fluxo] or {
    perguntas = {}, -- do servidor, as que esperam resposta
    respostas = {}, -- de quem se conecta, as que vieram antes da pergunta
    resto = {}, -- por porta de origem, o começo de uma linha que ainda não acabou
    cortada = {}, -- por porta de origem: o começo da linha já foi mostrado, e o que vier até o \n é o resto dela
  }
  return conexoes[fluxo]
end

local function estranha(linha)
  return { comando = "?", argumento = linha, aviso = avisos.nao_entendida }
end

-- O que se mostra de uma linha que não se entendeu: o que pode ser uma senha, não.
local function sem_senha(linha, conexao)
  local talvez = linha:find('"senha"', 1, true) or conexao.tipo == "ATENDENTE" and not conexao.identificada
  return talvez and "(talvez uma senha)" or linha
end

local function mensagem(linha)
  local nome, texto = linha:match("^%[([^%]]*)%]: (.*)$")
  return nome and { comando = "MENSAGEM", remetente = nome, texto = texto }
end

local function pedido(linha)
  local palavra, argumento = linha:match("^([A-Z]+):(.*)$")
  if PEDIDOS[palavra] and (COM_ARGUMENTO[palavra] or not argumento:find("%S")) then
    return { comando = palavra, argumento = argumento }
  end
end

local function ler_do_servidor(linha)
  local palavra, argumento = linha:match("^([A-Z]+):(.*)$")
  if DO_SERVIDOR[palavra] then return { comando = palavra, argumento = argumento } end
  return mensagem(linha) or estranha(linha)
end

local function ler_tipo(linha, conexao)
  local tipo, departamento = linha:match("^%s*([A-Z]+):?(.-)%s*$")
  if tipo == "CLIENTE" or tipo == "ATENDENTE" then
    conexao.tipo = tipo
    return { comando = tipo, argumento = departamento }
  end
  -- Sem o tipo, ou a captura começou no meio da conversa, ou quem se conectou não fala este protocolo.
  conexao.identificada = pedido(linha) or mensagem(linha)
  return not conexao.identificada and estranha(linha)
end

local function ler_resposta(linha, conexao)
  -- Enquanto não se sabe a que pergunta responde, pode ser uma senha; mas só a um atendente se pede uma.
  local resposta = { comando = "RESPOSTA", argumento = sem_senha(linha, conexao), linha = linha }
  table.insert(conexao.respostas, resposta)
  return resposta
end

local function ler_do_cliente(linha, conexao)
  if not (conexao.tipo or conexao.identificada or conexao.perguntas[1]) then
    local lida = ler_tipo(linha, conexao)
    if lida then return lida end
  end
  if not conexao.identificada then return ler_resposta(linha, conexao) end
  if not linha:find("%S") then return { comando = "VAZIA" } end
  local lida = mensagem(linha)
  if lida and (not conexao.nome or lida.remetente == conexao.nome) then return lida end
  return pedido(linha) or { comando = "MENSAGEM", remetente = conexao.nome, texto = linha }
end

-- Junta cada resposta à sua pergunta, venha qual vier primeiro: nada impede que quem se conecta responda antes.
-- A resposta que já foi mostrada muda: a segunda passada vê o que a primeira não podia saber.
local function casar(conexao)
  while conexao.perguntas[1] and conexao.respostas[1] do
    local pergunta, resposta = table.remove(conexao.perguntas, 1), table.remove(conexao.respostas, 1)
    if pergunta == "NOME" then conexao.nome = resposta.linha:match("^%s*(.-)%s*$") end
    resposta.argumento = pergunta == "SENHA" and "(senha)" or resposta.linha
  end
end

-- Não há mais perguntas: o que sobrou das respostas já era conversa.
local function identificar(conexao)
  conexao.identificada = true
  for _, resposta in ipairs(conexao.respostas) do
    local lida = ler_do_cliente(resposta.linha, conexao)
    for _, campo in ipairs({ "comando", "argumento", "remetente", "texto" }) do resposta[campo] = lida[campo] end
  end
  conexao.respostas = {}
end

local function ler_texto(linha, conexao, do_cliente)
  local lida = do_cliente and ler_do_cliente(linha, conexao) or ler_do_servidor(linha)
  if not do_cliente and PERGUNTAS[lida.comando] then
    table.insert(conexao.perguntas, lida.comando)
  elseif not do_cliente and lida.comando ~= "AVISO" then
    identificar(conexao)
  end
  casar(conexao)
  return lida
end

-- Um texto ou um número como texto, uma lista de textos separados por vírgulas; o resto não vale nada.
local function como_texto(valor)
  if type(valor) == "table" then
    local textos = {}
    for _, item in ipairs(valor) do
      if type(item) == "string" then table.insert(textos, item) end
    end
    return textos[1] and table.concat(textos, ",") or nil
  end
  if type(valor) == "number" then return string.format("%.14g", valor) end -- 1e3 é 1000 em qualquer Lua
  return type(valor) == "string" and valor or nil
end

local function ler_json(linha, conexao, do_cliente)
  local objeto = objeto_de(linha)
  if not objeto then return estranha(sem_senha(linha, conexao)) end
  local comando, nome = objeto.comando:upper(), como_texto(objeto.nome)
  if comando == "MENSAGEM" then
    local texto = como_texto(objeto.texto)
    if not texto then return estranha(linha) end
    return { comando = comando, remetente = do_cliente and conexao.nome or nome, texto = texto }
  end
  if do_cliente and nome then conexao.nome = nome end
  local argumentos = {}
  for _, chave in ipairs({ "mensagem", "posicao", "nome", "departamento", "opcoes" }) do
    table.insert(argumentos, como_texto(objeto[chave]))
  end
  if objeto.senha then table.insert(argumentos, "(senha)") end
  if comando == "FILA" and not do_cliente and not argumentos[1] then argumentos[1] = "OK" end -- a posição é null
  return { comando = comando, argumento = argumentos }
end

-- Lê uma linha, sem o \n. `inteira` diz se ele chegou a vir.
local function ler(linha, inteira, conexao, porta, do_cliente)
  local em_json = linha:sub(1, 1) == "{"
  if do_cliente then
    -- O formato é o da primeira linha de quem se conecta; o servidor, que ainda não a leu, pode recusá-lo em texto.
    if conexao.em_json == nil then conexao.em_json = em_json end
    em_json = conexao.em_json
  end
  local limpa, lida = limpar(linha:gsub("\r$", "")), nil
  if not inteira or conexao.cortada[porta] or do_cliente and #linha >= MAXIMO then
    lida = { comando = "?", argumento = sem_senha(limpa, conexao), aviso = avisos.longa }
    conexao.cortada[porta] = not inteira
  else
    lida = (em_json and ler_json or ler_texto)(limpa, conexao, do_cliente)
  end
  lida.formato, lida.do_cliente = em_json and "json" or "texto", do_cliente
  return lida
end

-- O dissector ------------------------------------------------------------------------------------------------

local function abreviado(texto)
  -- O corte não pode deixar meio caractere: o último, se não é ASCII, sai inteiro.
  return #texto <= 96 and texto or texto:sub(1, 93):gsub("[\192-\255][\128-\191]*$", "") .. "…"
end

local function em_lista(valor)
  return type(valor) == "table" and valor or { valor }
end

local function resumir(lida)
  if lida.texto then return string.format("[%s]: %s", lida.remetente or "?", lida.texto) end
  local argumento = table.concat(em_lista(lida.argumento), ",")
  return argumento == "" and lida.comando or lida.comando .. ":" .. argumento
end

-- Cada campo aponta os seus bytes. O que não está escrito assim no fio (o remetente que se deduz, um escape do
-- JSON, a senha) fica entre colchetes, como o Wireshark faz com tudo o que ele acrescenta.
local function mostrar(lida, linha, trecho, arvore)
  local ramo, posicao = arvore:add(fila, trecho), 1
  for _, nome in ipairs({ "comando", "argumento", "remetente", "texto", "formato" }) do
    for _, valor in ipairs(em_lista(lida[nome])) do
      local primeiro, ultimo = linha:find(valor, posicao, true)
      local mostrado = visivel(valor)
      if primeiro and valor ~= "" then
        local item = ramo:add(campos[nome], trecho(primeiro - 1, #valor), mostrado)
        if mostrado ~= valor then item:set_generated() end
        posicao = ultimo + 1
      elseif valor ~= "" or nome == "texto" then
        ramo:add(campos[nome], trecho, mostrado):set_generated()
      end
    end
  end
  -- Também a marca que separa dois resumos: quem a escrevesse forjaria um comando.
  local resumo = visivel(resumir(lida)):gsub("  |  ", "  \\x7c  ")
  ramo:set_text("Fila de Atendimento, " .. resumo)
  if lida.aviso then ramo:add_proto_expert_info(lida.aviso) end
  return (lida.do_cliente and "→ " or "← ") .. abreviado(resumo)
end

function fila.dissector(tvb, pinfo, arvore)
  pinfo.cols.protocol = "FILA"
  local fluxo, porta = fluxo_tcp().value, pinfo.src_port
  -- De uma conexão que começou antes da captura não se viu o SYN: `match` é a porta que trouxe o pacote até aqui,
  -- a 12345 ou a do Decode As.
  local conexao, do_cliente = conexao_de(fluxo), porta ~= (servidores[fluxo] or pinfo.match)
  local bytes, tamanho, inicio, resumos = tvb:raw(), tvb:len(), 0, {}
  conexao.resto[porta] = nil
  while inicio < tamanho do
    local quebra = bytes:find("\n", inicio + 1, true)
    if not quebra and tamanho - inicio < ESPERA and pinfo.can_desegment > 0 then
      -- Meia linha: o Wireshark guarda estes bytes e chama de novo com os do segmento seguinte junto.
      pinfo.desegment_offset, pinfo.desegment_len = inicio, DESEGMENT_ONE_MORE_SEGMENT
      conexao.resto[porta] = bytes:sub(inicio + 1)
      break
    end
    local fim = quebra or tamanho
    local linha = bytes:sub(inicio + 1, quebra and quebra - 1)
    local chave = string.format("%d:%d:%s", pinfo.number, inicio, linha)
    lidas[chave] = lidas[chave] or ler(linha, quebra, conexao, porta, do_cliente)
    table.insert(resumos, mostrar(lidas[chave], linha, tvb(inicio, fim - inicio), arvore))
    inicio = fim
  end
  if resumos[1] then pinfo.cols.info = table.concat(resumos, "  |  ") end
  return tamanho
end

local portas = DissectorTable.get("tcp.port")
portas:add(PORTA, fila)
portas:add_for_decode_as(fila)

-- O SYN, o FIN e o RST o TCP não entrega a `fila`: vê-os este outro, que o Wireshark chama depois de cada pacote.
-- O SYN diz quem é o servidor; só no FIN e no RST se sabe que não vem mais nada para a linha que está sem \n.
local pontas = Proto("fila_pontas", "Fila de Atendimento: o começo e o fim das conexões")

function pontas.dissector(_, pinfo, arvore)
  local fluxo = fluxo_tcp()
  if not fluxo then return end
  if syn().value and not ack().value then servidores[fluxo.value] = pinfo.dst_port end
  if not (fin().value or rst().value) then return end
  local chave, conexao = string.format("%d:fim", pinfo.number), conexoes[fluxo.value]
  if conexao and not pinfo.visited then
    local resto = conexao.resto[pinfo.src_port]
    lidas[chave], conexao.resto[pinfo.src_port] = resto and sem_senha(limpar(resto), conexao), nil
  end
  if not lidas[chave] then return end
  local resto = visivel(lidas[chave])
  local ramo = arvore:add(fila, "Fila de Atendimento, linha incompleta: " .. resto)
  ramo:add(campos.comando, "?"):set_generated()
  ramo:add(campos.argumento, resto):set_generated()
  ramo:add_proto_expert_info(avisos.incompleta)
  pinfo.cols.info:append("  [sem \\n: " .. abreviado(resto) .. "]")
end

register_postdissector(pontas)
