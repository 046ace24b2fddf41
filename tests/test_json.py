"""O formato JSON: o mesmo protocolo, um objeto por linha."""

import json

import pytest
from participante import FECHOU
from test_protocolo import FAMILIA, cada, casos

from protocolo import (
    MAXIMO_DA_LINHA,
    Aviso,
    Conectado,
    Consulta,
    Entrada,
    Fila,
    Fim,
    Json,
    LinhaLonga,
    Mensagem,
    Pausa,
    Pergunta,
    Pronto,
    Resposta,
    SeparadorDeLinhas,
    Texto,
    Tipo,
    Transferencia,
    Volta,
    comandos_do_servidor,
    formato_de,
)


def objeto(**campos):
    """A linha exata que o formato manda: sem espaços, e sem escapes que se possam evitar."""
    return json.dumps(campos, ensure_ascii=False, separators=(",", ":"))


def fim(mensagem):
    return objeto(comando="fim", mensagem=mensagem)


def aviso(mensagem):
    return objeto(comando="aviso", mensagem=mensagem)


# --- Sem rede -----------------------------------------------------------------------------------

DO_SERVIDOR = {
    "nome": (Pergunta("nome"), '{"comando":"nome"}'),
    "senha": (Pergunta("senha"), '{"comando":"senha"}'),
    "departamento": (Pergunta("departamento", ("A", "B")), '{"comando":"departamento","opcoes":["A","B"]}'),
    "posicao": (Fila(2), '{"comando":"fila","posicao":2}'),
    "posicao-zero": (Fila(0), '{"comando":"fila","posicao":0}'),
    "livre": (Fila(None), '{"comando":"fila","posicao":null}'),
    "conectado": (Conectado("Ana"), '{"comando":"conectado","nome":"Ana"}'),
    "mensagem": (Mensagem("Ana", ("Olá!",)), '{"comando":"mensagem","nome":"Ana","texto":"Olá!"}'),
    "escapes": (Mensagem("A", ('"\\',)), '{"comando":"mensagem","nome":"A","texto":"\\"\\\\"}'),
    "emoji": (Mensagem("A", (FAMILIA,)), f'{{"comando":"mensagem","nome":"A","texto":"{FAMILIA}"}}'),
    "fim": (Fim("Servidor encerrado."), '{"comando":"fim","mensagem":"Servidor encerrado."}'),
    "aviso": (Aviso("oi"), '{"comando":"aviso","mensagem":"oi"}'),
}
PEDIDOS = {
    "fim": (Fim(), '{"comando":"fim"}'),
    "fila": (Consulta(), '{"comando":"fila"}'),
    "pausa": (Pausa(), '{"comando":"pausa"}'),
    "volta": (Volta(), '{"comando":"volta"}'),
    "pronto": (Pronto(), '{"comando":"pronto"}'),
    "transferir": (Transferencia("Suporte"), '{"comando":"transferir","departamento":"Suporte"}'),
}
DO_TERMINAL = PEDIDOS | {
    "cliente": (Entrada(Tipo.CLIENTE), '{"comando":"cliente"}'),
    "atendente": (
        Entrada(Tipo.ATENDENTE, "Vendas,Suporte", "Ana", "x"),
        '{"comando":"atendente","nome":"Ana","departamento":"Vendas,Suporte","senha":"x"}',
    ),
    "resposta": (Resposta("nome", "Yuri"), '{"comando":"nome","nome":"Yuri"}'),
    "mensagem": (Mensagem("Yuri", ("Olá!",)), '{"comando":"mensagem","texto":"Olá!"}'),
}


@casos("comando, linha", DO_SERVIDOR)
def test_do_servidor(comando, linha):
    """Cada comando tem no fio a forma literal da especificação, e o programa de terminal o lê de volta."""
    assert Json("Yuri").codificar(comando) == f"{linha}\n".encode()
    assert Json().ler_servidor([linha]) == [comando]


@casos("comando, linha", DO_TERMINAL)
def test_do_terminal(comando, linha):
    """Os programas também, e não dizem ao servidor o que ele já sabe."""
    assert Json().codificar(comando) == f"{linha}\n".encode()


@casos("comando, linha", PEDIDOS)
def test_pedido_de_participante(comando, linha):
    """O servidor lê o pedido que o programa manda."""
    assert Json("Yuri").ler_participante([linha]) == [comando]


def test_varias_mensagens():
    """Cada texto é uma linha, e um substituto solto não derruba ninguém."""
    linhas = Json().codificar(Mensagem("A", ["um", "a\ud800b"])).splitlines()
    assert [json.loads(linha)["texto"] for linha in linhas] == ["um", "a?b"]


def test_o_primeiro_byte_diz_o_formato():
    """Fala JSON a conexão cuja primeira linha começa por `{`, e nenhuma outra."""
    formatos = [type(formato_de(inicio)) for inicio in (b"{", b"\xef\xbb\xbf{", b"CLIENTE", b" {", b"[", b"")]
    assert formatos == [Json, Json, Texto, Texto, Texto, Texto]


TUDO = '{"senha":"s","nome":"Ana","departamento":"Vendas","comando":"atendente"}'
CLIENTE, DE_TODOS = Entrada(Tipo.CLIENTE), Entrada(Tipo.ATENDENTE, "*")


@casos(
    "linha, entrada",
    {
        "so-o-tipo": ('{"comando":"cliente"}', CLIENTE),
        "tudo": (TUDO, Entrada(Tipo.ATENDENTE, "Vendas", "Ana", "s")),
        "lista": ('{"comando":"atendente","departamento":["A","B"]}', Entrada(Tipo.ATENDENTE, "A,B")),
        "lista-vazia": ('{"comando":"atendente","departamento":[]}', DE_TODOS),
        "texto-vazio": ('{"comando":"atendente","departamento":" "}', DE_TODOS),
        "chaves-a-mais-e-espacos": ('{ "comando" : "cliente" ,"idade":7,"x":[{"y":null}]} ', CLIENTE),
        "ultima-chave-repetida": ('{"comando":"x","comando":"cliente"}', CLIENTE),
    },
)
def test_ler_entrada(linha, entrada):
    """O primeiro objeto diz o tipo, e pode trazer o que o servidor perguntaria."""
    assert Json().ler_entrada(linha) == entrada


INVALIDO = "JSON inválido: mande um objeto por linha."
FUNDO = "JSON inválido: há listas e objetos demais, uns dentro dos outros."
LONGA = "Linha longa demais (máximo de 4096 bytes)."
TIPO = 'Tipo inválido: o primeiro comando é "cliente" ou "atendente".'


def campo_invalido(nome):
    return f'Campo "{nome}" inválido: deve ser um texto.'


def resposta(campo):
    return lambda linha: Json().ler_resposta(campo, linha)


@casos(
    "ler, linha, motivo",
    {
        "nao-e-json": (Json().ler_entrada, "{comando", INVALIDO),
        "nao-e-objeto": (Json().ler_entrada, "[1]", INVALIDO),
        "vazia": (Json().ler_entrada, "", INVALIDO),
        "sem-comando": (Json().ler_entrada, "{}", campo_invalido("comando")),
        "comando-que-nao-e-texto": (Json().ler_entrada, '{"comando":1}', campo_invalido("comando")),
        "nao-e-um-tipo": (Json().ler_entrada, '{"comando":"fila"}', TIPO),
        "nome-nulo": (Json().ler_entrada, '{"comando":"cliente","nome":null}', campo_invalido("nome")),
        "senha-numerica": (Json().ler_entrada, '{"comando":"cliente","senha":7}', campo_invalido("senha")),
        "numeros": (Json().ler_entrada, '{"comando":"cliente","departamento":[1]}', campo_invalido("departamento")),
        "longa": (Json().ler_entrada, None, LONGA),
        "fundo": (Json().ler_entrada, "{" + "[" * 4000, FUNDO),
        "outro-comando": (resposta("nome"), '{"comando":"fila"}', 'Resposta inválida: o comando esperado é "nome".'),
        "sem-o-campo": (resposta("nome"), '{"comando":"nome"}', campo_invalido("nome")),
        "em-texto": (resposta("nome"), "Yuri", INVALIDO),
        "resposta-longa": (resposta("departamento"), None, LONGA),
        "nula": (resposta("departamento"), '{"comando":"departamento"}', campo_invalido("departamento")),
    },
)
def test_identificacao_invalida(ler, linha, motivo):
    """Qualquer outra coisa é recusada, e o motivo diz o que está errado."""
    with pytest.raises(ValueError) as erro:
        ler(linha)
    assert str(erro.value) == motivo


def test_ler_resposta():
    """A resposta é o mesmo comando com o valor; a de departamento pode ser uma lista."""
    assert Json().ler_resposta("nome", '{"comando":"nome","nome":"Yuri"}') == Resposta("nome", "Yuri")
    lista = '{"comando":"departamento","departamento":["A","B"]}'
    assert Json().ler_resposta("departamento", lista) == Resposta("departamento", "A,B")


@casos(
    "escrito, texto",
    {
        "simples": ("oi", "oi"),
        "parece-comando": ("FIM:", "FIM:"),
        "com-prefixo": ("[Yuri]: oi", "[Yuri]: oi"),
        "espacos-nas-pontas": (" oi ", " oi "),
        "controles": (r"a\u001b[2J\n\u0000\u202eb\tc", "a[2J b c"),
        "substituto-solto": (r"a\ud800b\udc00", "a\ufffdb\ufffd"),
        "par-trocado": (r"\ude00\ud83d", "\ufffd\ufffd"),
        "par-de-substitutos": (r"\ud83d\ude00", "😀"),
        "comando-com-escapes": (r"\u0046IM\u003a", "FIM:"),
        "aspas-e-barras": (r"\"\\\/\b\f\r", '"\\/  '),
        "bidirecional-e-separadores": (r"a\u2066\u2028\u2029\u200db", "a  \u200db"),
        "quebra-de-linha": (r"ligue\nagora\u000b\u0085!", "ligue agora  !"),
        "chave-repetida": ('um","texto":"dois', "dois"),
        "chaves-a-mais": ('oi","x":null,"y":[1,{"z":1e999}],"nome":"Ana', "oi"),
        "numero-enorme-a-mais": (f'oi","x":{"9" * 4000},"y":"', "oi"),
        "muitos-colchetes": ("[" * 3000, "[" * 3000),
    },
)
def test_mensagem(escrito, texto):
    """O texto é exatamente o que está no campo, depois da limpeza, e é de quem o mandou."""
    linha = rf'{{"comando":"\u006densagem","texto":"{escrito}"}}'
    assert Json("Yuri").ler_participante([linha]) == [Mensagem("Yuri", [texto])]


@cada("texto", "", "  ", r"\u0000\n", "\u3000")
def test_texto_em_branco(texto):
    """Uma mensagem em branco é ignorada, e nem separa as vizinhas."""
    linhas = [f'{{"comando":"mensagem","texto":"{item}"}}' for item in ("a", texto, "b")]
    assert Json("Y").ler_participante([*linhas[:2], "", " ", linhas[2]]) == [Mensagem("Y", ["a", "b"])]


@casos(
    "linha, motivo",
    {
        "nao-e-json": ("oi", INVALIDO),
        "comando-de-texto": ("FIM:", INVALIDO),
        "constante": ("NaN", INVALIDO),
        "constante-a-mais": ('{"comando":"fila","x":-Infinity}', INVALIDO),
        "dois-objetos": ('{"comando":"fila"}{"comando":"fila"}', INVALIDO),
        "aspas-simples": ("{'comando':'fila'}", INVALIDO),
        "numero-enorme": ("9" * 4000, INVALIDO),
        "aspas-abertas": ('{"comando":"mensagem","texto":"' + "[" * 3000, INVALIDO),
        "colchetes-num-texto": ('"' + "[" * 200 + '"', INVALIDO),
        "fundo": ("[" * 4090, FUNDO),
        "apinhado": ('{"a":' * 101, FUNDO),
        "fundo-depois-de-rasos": ("[" + "[]," * 200 + "[" * 100, FUNDO),
        "desconhecido": ('{"comando":"voar"}', 'Comando desconhecido: "voar".'),
        "desconhecido-e-comprido": (f'{{"comando":"{"x" * 3000}"}}', f'Comando desconhecido: "{"x" * 40}".'),
        "do-servidor": ('{"comando":"conectado","nome":"Ana"}', 'Comando desconhecido: "conectado".'),
        "maiusculas": ('{"comando":"FILA"}', 'Comando desconhecido: "FILA".'),
        "comando-nulo": ('{"comando":null}', campo_invalido("comando")),
        "comando-em-lista": ('{"comando":["fila"]}', campo_invalido("comando")),
        "sem-texto": ('{"comando":"mensagem"}', campo_invalido("texto")),
        "texto-em-lista": ('{"comando":"mensagem","texto":["oi"]}', campo_invalido("texto")),
        "transferir-sem-nome": ('{"comando":"transferir"}', campo_invalido("departamento")),
        "transferir-em-lista": ('{"comando":"transferir","departamento":["A"]}', campo_invalido("departamento")),
    },
)
def test_o_que_nao_se_entende_vira_aviso(linha, motivo):
    """Cada linha que não se entende é respondida com o que há de errado nela."""
    assert Json("Yuri").ler_participante([linha]) == [Aviso(motivo)]


def test_ate_o_limite_de_listas():
    """Chaves a mais são ignoradas, mesmo com listas até o limite, ou muitas delas lado a lado."""
    for listas in "[" * 99 + "]" * 99, f"[{'[],' * 100}[]]":
        assert Json().ler_participante([f'{{"comando":"fila","x":{listas},"y":"[["}}']) == [Consulta()]


MENSAGEM = '{"comando":"mensagem","texto":"%s"}'
VAZIA = len(MENSAGEM % "") + 1  # bytes, com o \n


@casos(
    "dados, texto",
    {
        "linha-no-limite": (MENSAGEM.encode() % (b"x" * (4096 - VAZIA)), "x" * (4096 - VAZIA)),
        "linha-um-byte-a-mais": (MENSAGEM.encode() % (b"x" * (4097 - VAZIA)), None),
        "espacos-a-mais": (MENSAGEM.encode() % b"x" + b" " * 4096, None),
        "escapes-no-limite": (MENSAGEM.encode() % (rb"\u00e9" * 677), "é" * 677),
        "bytes-invalidos-no-limite": (MENSAGEM.encode() % (b"\xff" * 1362), "\ufffd" * 1362),
        "bytes-invalidos-a-mais": (MENSAGEM.encode() % (b"\xff" * 1363), None),
    },
)
def test_o_limite_do_que_chega(dados, texto):
    """A linha tem 4096 bytes como as outras, e a mensagem tem de caber também na sua forma de texto."""
    *_, linha = SeparadorDeLinhas().alimentar(dados + b"\n")
    assert Json("Yuri").ler_participante([linha]) == [Mensagem("Yuri", [texto]) if texto else LinhaLonga()]


def test_a_maior_mensagem_chega_inteira_ao_programa():
    """Em JSON a mensagem pode passar de 4096 bytes, e o programa de terminal a lê mesmo assim."""
    mensagem = Mensagem("Ana", ('"' * (MAXIMO_DA_LINHA - len("[Ana]: \n")),))
    fluxo = iter([Json("Yuri").codificar(mensagem), b""])
    assert list(comandos_do_servidor(lambda maximo: next(fluxo), Json())) == [mensagem]


def test_o_que_o_servidor_manda_tambem_chega_limpo():
    """Nem por escapes um controle chega ao terminal; a recusa de quem não disse nada, em texto, também se entende."""
    sujas = [r'{"comando":"mensagem","nome":"\u001bA","texto":"\u001b[2Joi\n"}', "FIM:Servidor lotado."]
    assert Json().ler_servidor(sujas) == [Mensagem("A", ("[2Joi ",)), Fim("Servidor lotado.")]


@cada(
    "linha",
    *("", "FILA:1", "[]", '{"comando":"conectado"}', '{"comando":"apagar"}', '{"comando":"mensagem","nome":"Ana"}'),
    *('{"comando":"fila","posicao":"1"}', '{"comando":"fila","posicao":true}', '{"comando":"fila","posicao":-1}'),
    *('{"comando":"departamento","opcoes":"Vendas"}', '{"comando":"departamento","opcoes":[1]}'),
)
def test_lixo_do_servidor_e_descartado(linha):
    """O que não se entende some, sem levar os vizinhos."""
    assert Json().ler_servidor(['{"comando":"fila","posicao":2}', linha]) == [Fila(2)]


# --- No fio -------------------------------------------------------------------------------------

NOME_INVALIDO = "Nome inválido: use de 1 a 40 caracteres, sem colchetes."
DEPARTAMENTO_INVALIDO = "Departamento inválido: escolha entre Vendas, Suporte."


@casos(
    "linhas, motivo",
    {
        "json-invalido": (["{cliente}"], INVALIDO),
        "linha-longa": ([b"{" + b" " * 4095], LONGA),  # sem o fim da linha
        "nome": ([objeto(comando="cliente", nome=" ")], NOME_INVALIDO),
        "departamento": ([objeto(comando="cliente", nome="Yuri", departamento="Compras")], DEPARTAMENTO_INVALIDO),
        "dois-do-cliente": ([objeto(comando="cliente", departamento=["Vendas", "Suporte"])], DEPARTAMENTO_INVALIDO),
        "todos-do-cliente": ([objeto(comando="cliente", departamento="*")], DEPARTAMENTO_INVALIDO),
        "senha": ([objeto(comando="atendente", senha="errada")], "Senha incorreta."),
        "resposta-em-texto": ([objeto(comando="cliente"), "Yuri"], INVALIDO),
    },
)
def test_recusa_em_json(abrir_servidor, linhas, motivo):
    """Na identificação, todo erro é um `fim` em JSON que diz o motivo."""
    alguem = abrir_servidor(departamentos=("Vendas", "Suporte"), senha="segredo").conecta()
    alguem.envia(*linhas)
    *_, ultima = alguem.le_ate(FECHOU)
    assert ultima == fim(motivo)


def test_o_formato_e_o_do_primeiro_byte(abrir_servidor):
    """Quem só mandou meia linha já é respondido no seu formato; quem não mandou nada, em texto."""
    servidor = abrir_servidor(prazo_identificacao=0.2)
    meia = servidor.conecta()
    meia.envia(b"{")
    calado = servidor.conecta()
    meia.espera(fim('Tempo de identificação esgotado: "{" chegou sem o fim de linha.'), FECHOU)
    calado.espera("FIM:Tempo de identificação esgotado.", FECHOU)
