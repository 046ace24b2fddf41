"""As regras do servidor: de cada uma, uma frase, a seção de `docs/protocolo.md` e um diálogo curto que a confere.

Para acrescentar uma, escreva uma função com o decorador: `palco.par()` dá um cliente e um atendente que já conversam;
`envia` manda linhas; `espera` exige que as próximas sejam aquelas. Cada regra tem um servidor só dela.

Escreva também, em `tests/defeitos.py`, o defeito que a faz falhar: só assim se sabe que ela confere alguma coisa;
`python tests/defeitos.py` diz se ele custa só a regra dele.
"""

import re

from conferidor.dialogo import FECHOU, Falha, Participante
from conferidor.palco import Livro, Palco
from conferidor.processo import permitir_descritores

SERVIDOR = Livro("docs/passos/README.md")
regra = SERVIDOR.regra

# As seções da página do protocolo.
LINHAS, IDENTIFICACAO, COMANDOS, FILA, CONVERSA, FIM, GARANTIAS, PEDIDOS, INTERVALO, JSON, TELNET = (
    "linhas identificação comandos na-fila a-conversa o-fim o-que-se-garante comandos-de-quem-está-conectado"
    " entre-dois-atendimentos o-mesmo-protocolo-em-json programas-prontos"
).split()

# O que estudar.
RECV = (
    "Um recv não é uma mensagem: junte os bytes e corte em \\n."
    " Veja docs/passos/passo1.py e docs/experimentos/01_recv_nao_e_mensagem.py"
)
TRAVA = "Olhar a lista e mudá-la é um passo só, com a trava na mão. Veja docs/experimentos/02_sem_a_trava.py"
ENVIO = "Não envie com a trava na mão: quem não lê para todos. Veja docs/passos/passo4.py"
ORDEM = "A ordem dos envios é a das decisões. Veja docs/passos/passo5.py"
CLOSE = (
    "Depois do FIM:, shutdown: close não acorda quem está no recv. Veja docs/experimentos/03_close_nao_acorda_recv.py"
)
CTRL_C = "Trate KeyboardInterrupt; as threads que não são daemon prendem o processo"
RST = "O recv levanta ConnectionResetError: é um fim também"
LISTEN = "A fila do listen é de quem ainda não foi aceito. Veja docs/experimentos/04_fila_do_listen.py"
BASE = "É o começo de tudo: leia o tipo, peça o nome, forme os pares. Veja docs/passos/passo1.py"
NOME = "Veja validar_nome em protocolo.py"
LIMPAR = "O texto de um passa pelo terminal do outro. Veja limpar em protocolo.py"
EXTENSAO = "É uma das extensões. Veja docs/extensoes.md"

# O que o servidor diz.
TIPO_INVALIDO = "FIM:Tipo inválido: envie CLIENTE ou ATENDENTE."
PARECE_TELNET = "FIM:Tipo inválido: parece Telnet; escolha a conexão bruta (raw)."
NOME_INVALIDO = "FIM:Nome inválido: use de 1 a 40 caracteres, sem colchetes."
SEM_DEPARTAMENTOS = "Departamento inválido: este servidor não tem departamentos."
NA_FILA = "AVISO:Você ainda está na fila; sua mensagem será entregue ao atendente."
LIMITE_NA_FILA = "AVISO:Limite de mensagens na espera atingido; a mensagem não foi guardada."
SEM_CLIENTE = "AVISO:Nenhum cliente conectado; a mensagem não foi enviada."
LONGA_DEMAIS = "AVISO:Mensagem longa demais (máximo de 4096 bytes); não foi enviada."
NAO_UTF8 = "AVISO:Nem tudo o que você mandou é UTF-8; o que não é chega como \ufffd."
SEM_CONVERSA = "AVISO:Nenhuma conversa para encerrar."
SAIU_DA_FILA = "FIM:Você saiu da fila."
DESLIGADO = "FIM:Servidor encerrado."
VOCE_ENCERROU = "FIM:Atendimento encerrado. Você encerrou a conversa."
YURI_ENCERROU = "FIM:Atendimento encerrado. O cliente Yuri encerrou a conversa."
YURI_DESCONECTOU = "FIM:Atendimento encerrado. O cliente Yuri desconectou."
ANA_ENCERROU = "FIM:Atendimento encerrado. O atendente Ana encerrou a conversa."
ANA_DESCONECTOU = "FIM:Atendimento encerrado. O atendente Ana desconectou."

FAMILIA = "👨\u200d👩\u200d👧"  # três emojis unidos por ZWJ


def nao_e_recusado(alguem: Participante) -> None:
    """Ao tipo, o servidor responde qualquer coisa que não seja `FIM:`."""
    alguem.pergunta()
    alguem.nao_leu("FIM:")


def numeros(ouve: Participante) -> list[int]:
    """Os números em que acabam as linhas que `ouve` leu."""
    return [int(numero) for linha in ouve.lidas for numero in re.findall(r" (\d+)$", linha or "")]


# --- Nível 1: linhas e identificação --------------------------------------------------------------


@regra(1, "Quem diz CLIENTE lê `NOME:`.", IDENTIFICACAO, BASE)
def tipo_cliente(palco: Palco) -> None:
    palco.conecta("Yuri").pede("CLIENTE", "NOME:")


@regra(1, "Quem diz ATENDENTE lê `NOME:`.", IDENTIFICACAO, BASE)
def tipo_atendente(palco: Palco) -> None:
    palco.conecta("Ana").pede("ATENDENTE", "NOME:")


@regra(1, "Quem diz outra coisa lê `FIM:`, com o motivo, e é desconectado.", IDENTIFICACAO, BASE)
def tipo_invalido(palco: Palco) -> None:
    palco.conecta().pede("GERENTE", TIPO_INVALIDO, FECHOU)


@regra(1, "A primeira linha diz o tipo em maiúsculas.", IDENTIFICACAO, BASE)
def tipo_maiusculas(palco: Palco) -> None:
    alguem = palco.conecta()
    alguem.envia("cliente")
    alguem.ate("FIM:")


@regra(1, "O servidor só fala depois de quem chega.", IDENTIFICACAO, BASE)
def tipo_calado(palco: Palco) -> None:
    yuri = palco.conecta("Yuri")
    yuri.nada_chegou(espera=0.2)
    yuri.envia("CLIENTE")
    yuri.alguma()


@regra(1, "Um nome vazio, ou só de espaços, é inválido.", IDENTIFICACAO, BASE)
def nome_vazio(palco: Palco) -> None:
    for nome in "", "   ":
        palco.entra("CLIENTE", nome).ate("FIM:")


@regra(1, "O nome tem de 1 a 40 caracteres.", IDENTIFICACAO, "Conte caracteres, e não bytes. " + BASE)
def nome_longo(palco: Palco) -> None:
    ana = palco.atendente("Ana")
    palco.entra("CLIENTE", "ø" * 40)
    ana.espera("CONECTADO:" + "ø" * 40)
    palco.entra("CLIENTE", "a" * 41).espera(NOME_INVALIDO, FECHOU)


@regra(1, "O nome não tem `[` nem `]`.", IDENTIFICACAO, "São eles que separam o nome da mensagem. " + BASE)
def nome_colchetes(palco: Palco) -> None:
    for nome in "[Ana", "Ana]":
        palco.entra("ATENDENTE", nome).ate("FIM:")


@regra(1, "Os espaços das pontas não fazem parte do nome.", IDENTIFICACAO, BASE)
def nome_espacos(palco: Palco) -> None:
    ana = palco.atendente("Ana")
    palco.entra("CLIENTE", "  Maria da Silva ")
    ana.espera("CONECTADO:Maria da Silva")


@regra(1, "Dois podem ter o mesmo nome.", IDENTIFICACAO, "A chave de um conectado é a conexão, e não o nome. " + BASE)
def nome_repetido(palco: Palco) -> None:
    yuri, ana = palco.par("Ana", "Ana")
    bia, caio = palco.par("Ana", "Ana")
    yuri.fecha()
    ana.alguma(exigida=False)
    bia.envia("oi")
    caio.espera("[Ana]: oi")


@regra(1, "Um `\\r` antes do `\\n` não conta: `\\r\\n` serve.", LINHAS, "É o que o telnet e o PuTTY mandam. " + RECV)
def linha_crlf(palco: Palco) -> None:
    ana, yuri = palco.conecta("Ana"), palco.conecta("Yuri")
    for alguem, tipo in (ana, b"ATENDENTE\r\n"), (yuri, b"CLIENTE\r\n"):
        alguem.envia(tipo)
        alguem.pergunta()
        alguem.envia(f"{alguem.nome}\r\n".encode())
    yuri.ate("CONECTADO:")
    ana.ate("CONECTADO:")
    yuri.envia(b"oi\r\n")
    ana.espera("[Yuri]: oi")


@regra(1, "Uma linha em branco antes do tipo é ignorada.", LINHAS, "Quem aperta Enter ao conectar não errou nada")
def linha_em_branco_antes(palco: Palco) -> None:
    yuri = palco.conecta("Yuri")
    yuri.envia("")
    palco.da_uma_volta()
    yuri.envia("CLIENTE")
    nao_e_recusado(yuri)


# --- Nível 2: a fila e os pares -------------------------------------------------------------------


@regra(2, "O cliente que espera sabe logo a sua posição; 1 é o próximo.", FILA, BASE)
def fila_primeiro(palco: Palco) -> None:
    palco.entra("CLIENTE", "Yuri").espera("FILA:1")


@regra(2, "Quem se identifica vai para o fim da fila.", FILA, TRAVA)
def fila_posicao(palco: Palco) -> None:
    palco.cliente("Yuri")
    palco.entra("CLIENTE", "Bia").espera("FILA:2")
    palco.entra("CLIENTE", "Caio").espera("FILA:3")


@regra(2, "O atendente que fica livre, se ninguém espera, lê `FILA:OK`.", COMANDOS, BASE)
def fila_atendente(palco: Palco) -> None:
    palco.entra("ATENDENTE", "Ana").espera("FILA:OK")


@regra(2, "Quando o primeiro é atendido, o segundo sabe que agora é o primeiro.", FILA, "Avise quem ficou. " + TRAVA)
def fila_anda(palco: Palco) -> None:
    palco.cliente("Yuri")
    bia = palco.cliente("Bia")
    palco.atendente("Ana")
    bia.ate(("FILA:1", "CONECTADO:"))  # se é ela a chamada, quem o cobra é par-primeiro-cliente


@regra(2, "Quando o primeiro desiste, o segundo sabe que agora é o primeiro.", FILA, "Avise quem ficou. " + TRAVA)
def fila_desiste(palco: Palco) -> None:
    yuri, bia = palco.cliente("Yuri"), palco.cliente("Bia")
    yuri.fecha()
    bia.ate("FILA:1")


@regra(2, "Se há um atendente livre, a primeira linha que o cliente lê é `CONECTADO:`.", FILA, TRAVA)
def par_cliente_chega(palco: Palco) -> None:
    ana = palco.atendente("Ana")
    palco.entra("CLIENTE", "Yuri").espera("CONECTADO:Ana", direto=True, exatas=True)
    ana.espera("CONECTADO:Yuri")


@regra(2, "Se há um cliente esperando, a primeira linha que o atendente lê é `CONECTADO:`.", FILA, TRAVA)
def par_atendente_chega(palco: Palco) -> None:
    yuri = palco.cliente("Yuri")
    palco.entra("ATENDENTE", "Ana").espera("CONECTADO:Yuri", direto=True, exatas=True)
    yuri.espera("CONECTADO:Ana")


@regra(2, "O primeiro cliente da fila é o primeiro a ser atendido.", FILA, "A fila é FIFO. " + TRAVA)
def par_primeiro_cliente(palco: Palco) -> None:
    for nome in "Yuri", "Bia", "Caio":
        palco.cliente(nome)
    for atendente, nome in ("Ana", "Yuri"), ("Duda", "Bia"), ("Rui", "Caio"):
        palco.entra("ATENDENTE", atendente).espera(f"CONECTADO:{nome}")


@regra(2, "O atendente chamado é o que espera há mais tempo.", FILA, "A fila dos atendentes também é FIFO. " + TRAVA)
def par_primeiro_atendente(palco: Palco) -> None:
    for nome in "Ana", "Duda":
        palco.atendente(nome)
    for cliente, nome in ("Yuri", "Ana"), ("Bia", "Duda"):
        palco.entra("CLIENTE", cliente).espera(f"CONECTADO:{nome}")


def e_chamado(ana: Participante, nome: str) -> None:
    """Quem tem este nome é chamado, ainda que depois de outro cuja saída o servidor demorou a ver."""
    while not ana.ate("CONECTADO:").endswith(nome):
        pass


@regra(2, "Quem fechou a conexão na fila não é chamado.", FILA, "O fim do recv tira da fila, na mesma limpeza de todos")
def par_fantasma(palco: Palco) -> None:
    palco.cliente("Yuri").fecha()
    palco.cliente("Bia")
    e_chamado(palco.entra("ATENDENTE", "Ana"), "Bia")


# --- Nível 3: a conversa --------------------------------------------------------------------------


def yuri_diz(palco: Palco, dito: str, chega: str, **opcoes) -> None:
    """O que Yuri diz a Ana lhe chega assim."""
    yuri, ana = palco.par()
    yuri.envia(dito)
    ana.espera(chega, **opcoes)


@regra(3, "O texto do cliente chega ao atendente com o prefixo `[nome]: `.", CONVERSA, BASE)
def conversa_cliente(palco: Palco) -> None:
    yuri_diz(palco, "oi", "[Yuri]: oi", exatas=True)


@regra(3, "O texto do atendente chega ao cliente com o prefixo `[nome]: `.", CONVERSA, BASE)
def conversa_atendente(palco: Palco) -> None:
    yuri, ana = palco.par()
    ana.envia("oi")
    yuri.espera("[Ana]: oi", exatas=True)


@regra(3, "A linha que já traz o prefixo de quem a mandou é repassada na íntegra.", CONVERSA, "Não o ponha duas vezes")
def conversa_integra(palco: Palco) -> None:
    yuri, ana = palco.par()
    yuri.envia("[Yuri]: Olá!")
    ana.espera("[Yuri]: Olá!")
    ana.nao_leu("]: [Yuri]")


def chegam_com_prefixo(yuri: Participante, ana: Participante, *textos: str) -> None:
    """O que Yuri diz chega a Ana inteiro, e não como se fosse outra linha."""
    for texto in textos:
        yuri.envia(texto)
        ana.espera(f"[Yuri]: {texto}")
        if ana.lidas[-1] == texto:
            raise Falha(f"Ana lê {f'[Yuri]: {texto}'!r}", repr(texto))


@regra(3, "Ninguém fala em nome de outro.", CONVERSA, "Compare o prefixo com o nome de quem mandou, inteiro")
def conversa_nome_alheio(palco: Palco) -> None:
    chegam_com_prefixo(*palco.par(), "[Ana]: oi", "[Yuri]:oi", "[]: oi")


@regra(3, "O que uma pessoa escreve não é tomado por um comando do servidor.", CONVERSA, "Ponha o prefixo em tudo")
def conversa_comando(palco: Palco) -> None:
    yuri, ana = palco.par()
    chegam_com_prefixo(yuri, ana, "CONECTADO:x", "FILA:OK", "AVISO:x", "CLIENTE")
    yuri.envia("[Yuri]: FIM:")
    if (linha := ana.ate("")).startswith("FIM:"):
        raise Falha("Ana lê '[Yuri]: FIM:'", repr(linha))


@regra(3, "Acentos e emojis passam intactos, inclusive os compostos.", LINHAS, "UTF-8 nos dois sentidos. " + RECV)
def conversa_acentos(palco: Palco) -> None:
    yuri_diz(palco, f"Atenção, ação: {FAMILIA} e\u0301", f"[Yuri]: Atenção, ação: {FAMILIA} e\u0301")


@regra(3, "Uma linha vazia, ou só de espaços, é ignorada.", LINHAS, "Também a que fica vazia sem o prefixo")
def conversa_em_branco(palco: Palco) -> None:
    yuri, ana = palco.par()
    for branca in "", "   ", "[Yuri]:   ":
        yuri.envia(branca)
        palco.da_uma_volta()
    yuri.envia("oi")
    while not ana.ate("").endswith("oi"):
        pass
    for linha in ana.lidas:
        if linha.strip() in ("", "[Yuri]:"):
            raise Falha("Ana não lê linhas em branco", repr(linha))


@regra(3, "Cada um vê as linhas na ordem em que foram ditas.", GARANTIAS, RECV)
def conversa_ordem(palco: Palco) -> None:
    (yuri, ana), (bia, caio) = palco.par("Yuri", "Ana"), palco.par("Bia", "Caio")
    for fala, ouve in (yuri, ana), (caio, bia):
        fala.envia(*(f"linha {i}" for i in range(100)))
        fala.fecha()
        while not (ouve.alguma(exigida=False) or "FIM:").startswith("FIM:"):
            pass
        if (lidos := numeros(ouve)) != sorted(lidos):  # se algum falta, é de outra regra
            raise Falha(f"{ouve.nome} lê as linhas na ordem", f"{lidos}")


@regra(3, "O que se diz numa conversa só chega ao outro dela.", CONVERSA, "Guarde, de cada conexão, quem é o par")
def conversa_pares(palco: Palco) -> None:
    (yuri, ana), (bia, caio) = palco.par("Yuri", "Ana"), palco.par("Bia", "Caio")
    for fala, ouve in (yuri, ana), (bia, caio), (caio, bia), (ana, yuri):
        fala.envia(f"sou {fala.nome}")
        ouve.espera(f"[{fala.nome}]: sou {fala.nome}")


@regra(3, "O que o cliente diz na fila é entregue ao atendente logo depois do `CONECTADO:`.", FILA, ORDEM)
def espera_guarda(palco: Palco) -> None:
    yuri = palco.cliente("Yuri")
    yuri.envia("Alguém aí?")
    yuri.alguma(exigida=False)
    ana = palco.entra("ATENDENTE", "Ana")
    ana.ate("CONECTADO:")
    ana.espera("[Yuri]: Alguém aí?")


@regra(3, "O cliente que fala na fila recebe um aviso, na primeira mensagem.", FILA, "Lembre-se de que já avisou")
def espera_aviso(palco: Palco) -> None:
    yuri = palco.cliente("Yuri")
    yuri.pede("Alguém aí?", NA_FILA)
    yuri.envia("Olá?")
    palco.atendente("Ana")
    yuri.ate("CONECTADO:")
    yuri.leu_uma_vez(NA_FILA)


@regra(3, "Na fila se guardam 20 mensagens; depois, um aviso.", FILA, "Sem limite, um cliente enche a memória")
def espera_limite(palco: Palco) -> None:
    yuri = palco.cliente("Yuri")
    for numero in range(1, 23):
        yuri.envia(f"mensagem {numero}")
        palco.da_uma_volta()
    yuri.espera(LIMITE_NA_FILA, LIMITE_NA_FILA)
    ana = palco.entra("ATENDENTE", "Ana")
    ana.ate("CONECTADO:")
    yuri.envia("agora")
    ana.espera(*(f"[Yuri]: mensagem {numero}" for numero in range(1, 21)))
    ana.alguma()
    ana.nao_leu("mensagem 21")


@regra(3, "O atendente que fala sem cliente recebe um aviso.", FILA, "Não há a quem entregar, e ele precisa saber")
def espera_atendente(palco: Palco) -> None:
    palco.atendente("Ana").pede("Alguém aí?", SEM_CLIENTE)


# --- Nível 4: o fim, de todos os jeitos -----------------------------------------------------------


@regra(4, "O cliente fecha a conexão: o atendente sabe quem saiu, e como.", FIM, "O recv devolveu b'': é o fim")
def fim_cliente_fecha(palco: Palco) -> None:
    yuri, ana = palco.par()
    yuri.fecha()
    ana.espera(YURI_DESCONECTOU)


@regra(4, "O atendente fecha a conexão: o cliente sabe quem saiu, e como.", FIM, "O recv devolveu b'': é o fim")
def fim_atendente_fecha(palco: Palco) -> None:
    yuri, ana = palco.par()
    ana.fecha()
    yuri.espera(ANA_DESCONECTOU)


@regra(4, "O cliente manda `FIM:`: os dois sabem.", FIM, "Os dois recebem, cada um o seu texto")
def fim_cliente_encerra(palco: Palco) -> None:
    yuri, ana = palco.par()
    yuri.pede("FIM:", VOCE_ENCERROU)
    ana.espera(YURI_ENCERROU)


@regra(4, "O atendente manda `FIM:`: os dois sabem.", FIM, "Os dois recebem, cada um o seu texto")
def fim_atendente_encerra(palco: Palco) -> None:
    yuri, ana = palco.par()
    ana.pede("FIM:", VOCE_ENCERROU)
    yuri.espera(ANA_ENCERROU)


@regra(4, "Depois do fim o atendente volta para a fila, e é chamado de novo.", FIM, TRAVA)
def fim_atendente_volta(palco: Palco) -> None:
    yuri, ana = palco.par()
    yuri.fecha()
    ana.ate("FIM:")
    palco.cliente("Bia")
    ana.espera("CONECTADO:Bia")


@regra(4, "Se há quem espere, depois do `FIM:` já vem o `CONECTADO:` do próximo.", FIM, TRAVA)
def fim_proximo(palco: Palco) -> None:
    yuri, ana = palco.par()
    palco.cliente("Bia")
    yuri.fecha()
    ana.ate("FIM:")
    ana.espera("CONECTADO:Bia", direto=True)


@regra(4, "O atendente volta para o fim da fila dos atendentes.", FIM, "É append, e não insert(0, ...)")
def fim_da_fila(palco: Palco) -> None:
    yuri, ana = palco.par()
    caio = palco.atendente("Caio")
    yuri.fecha()
    ana.ate("FIM:")
    ana.alguma(exigida=False)
    palco.cliente("Bia")
    caio.espera("CONECTADO:Bia")


@regra(4, "`FIM:` do cliente na fila o desconecta.", PEDIDOS, "O mesmo comando, em outro estado: outra resposta")
def fim_na_fila(palco: Palco) -> None:
    palco.cliente("Yuri").pede("FIM:", SAIU_DA_FILA, FECHOU)


@regra(4, "`FIM:` do atendente sem conversa: um aviso, e nada muda.", PEDIDOS, "Os dois podem encerrar ao mesmo tempo")
def fim_sem_conversa(palco: Palco) -> None:
    ana = palco.atendente("Ana")
    ana.pede("FIM:", SEM_CONVERSA)
    palco.cliente("Yuri")
    ana.espera("CONECTADO:Yuri")


@regra(4, "O que vier na linha depois de `FIM:` é ignorado.", COMANDOS, "O comando acaba nos dois-pontos")
def fim_com_texto(palco: Palco) -> None:
    yuri, ana = palco.par()
    yuri.envia("FIM: até logo")
    ana.ate("FIM:")
    ana.nao_leu("até logo")


@regra(4, "O cliente que lê `FIM:` é desconectado, e o que ainda manda não chega a ninguém.", FIM, CLOSE)
def fim_depois(palco: Palco) -> None:
    yuri, ana = palco.par()
    ana.fecha()
    yuri.ate("FIM:")
    yuri.espera(FECHOU)
    bia, caio = palco.par("Bia", "Caio")
    bia.envia("FIM:", "tarde demais")
    bia.ate("FIM:")
    bia.espera(FECHOU)
    caio.ate("FIM:")
    caio.alguma(exigida=False)
    caio.nao_leu("tarde demais")


@regra(4, "A mensagem de quem fecha em seguida chega, e antes do `FIM:`.", GARANTIAS, ORDEM)
def fim_ultima_mensagem(palco: Palco) -> None:
    yuri, ana = palco.par()
    yuri.envia("até logo")
    yuri.fecha()
    ana.espera("[Yuri]: até logo")
    ana.ate("FIM:")


@regra(4, "Fechar só a sua metade da conexão conta como sair.", FIM, "O recv devolveu b'': feche também o seu lado")
def fim_meio_fechamento(palco: Palco) -> None:
    yuri, ana = palco.par()
    yuri.para_de_escrever()
    ana.ate("FIM:")
    yuri.espera(FECHOU)


@regra(4, "Quem vai embora sem se identificar não deixa rastro.", FILA, "Só entra na fila quem já tem nome")
def fim_sem_identificar(palco: Palco) -> None:
    for dito in b"", b"CLI", b"CLIENTE\n":
        alguem = palco.conecta()
        alguem.envia(dito)
        alguem.fecha()
    palco.cliente("Yuri")
    palco.entra("ATENDENTE", "Ana").espera("CONECTADO:Yuri")


@regra(4, "Ctrl+C no servidor: todos leem `FIM:Servidor encerrado.`", FIM, CTRL_C, no_windows=False)
def fim_servidor(palco: Palco) -> None:
    todos = [*palco.par(), palco.cliente("Bia"), palco.cliente("Caio")]
    palco.servidor.interrompe()
    for alguem in todos:
        alguem.espera(DESLIGADO, FECHOU)


@regra(4, "Ctrl+C no servidor: o processo termina, com código 0.", FIM, CTRL_C, no_windows=False)
def fim_servidor_codigo(palco: Palco) -> None:
    yuri, ana = palco.par()
    palco.servidor.interrompe()
    for alguem in yuri, ana:
        alguem.alguma(exigida=False)
        alguem.fecha()
    codigo = palco.servidor.codigo(2 * palco.alvo.prazo)
    if codigo != 0:
        raise Falha("o processo termina, com código 0", "não terminou" if codigo is None else f"o código {codigo}")


# --- Nível 5: o que uma rede de verdade faz -------------------------------------------------------


def aos_pedacos(palco: Palco, tamanho: int) -> None:
    """O que Yuri manda, desde o tipo, chega em pedaços deste tamanho, que o servidor lê um a um."""
    ana, yuri = palco.atendente("Ana"), palco.conecta("Yuri")
    fluxo = b"CLIENTE\nYuri\nbom dia\ntudo bem?\nfim\n"
    for inicio in range(0, len(fluxo), tamanho):
        yuri.envia(fluxo[inicio : inicio + tamanho])
        palco.da_uma_volta()
    ana.ate("CONECTADO:")
    ana.espera("[Yuri]: bom dia", "[Yuri]: tudo bem?", "[Yuri]: fim")


@regra(5, "Uma linha pode chegar byte a byte.", LINHAS, RECV)
def rede_1_byte(palco: Palco) -> None:
    aos_pedacos(palco, 1)


@regra(5, "Uma linha pode chegar de 5 em 5 bytes.", LINHAS, RECV)
def rede_5_bytes(palco: Palco) -> None:
    aos_pedacos(palco, 5)


@regra(5, "Um pedaço de 4096 bytes traz o fim de uma linha e o começo de outra.", LINHAS, RECV)
def rede_4096_bytes(palco: Palco) -> None:
    yuri, ana = palco.par()
    linhas = [letra * 4000 for letra in "abcd"]
    fluxo = "".join(f"{linha}\n" for linha in linhas).encode()
    for lugar, linha in enumerate(linhas):
        yuri.envia(fluxo[4096 * lugar :][:4096])
        ana.espera(f"[Yuri]: {linha}")


@regra(5, "Duas linhas que chegam juntas são duas mensagens.", LINHAS, RECV)
def rede_juntas(palco: Palco) -> None:
    yuri, ana = palco.par()
    yuri.envia("um", "dois")
    ana.espera("[Yuri]: um", "[Yuri]: dois")


@regra(5, "O tipo, o nome e as primeiras mensagens podem vir juntos.", IDENTIFICACAO, RECV)
def rede_tudo_junto(palco: Palco) -> None:
    ana, yuri = palco.atendente("Ana"), palco.conecta("Yuri")
    yuri.envia("CLIENTE", "Yuri", "oi", "tudo bem?")
    ana.ate("CONECTADO:")
    ana.espera("[Yuri]: oi", "[Yuri]: tudo bem?")


@regra(5, "Um acento partido entre dois pedaços chega inteiro.", LINHAS, "Decodifique a linha, e não o pedaço. " + RECV)
def rede_acento_partido(palco: Palco) -> None:
    yuri, ana = palco.par()
    yuri.envia("olá".encode()[:-1])
    ana.tem_o_que_ler(espera=0.2)  # é o tempo de o servidor ler a primeira metade
    yuri.envia("á\n".encode()[1:])
    ana.espera("[Yuri]: olá")


@regra(5, "Meia linha espera pela outra metade.", LINHAS, RECV)
def rede_meia_linha(palco: Palco) -> None:
    yuri, ana = palco.par()
    yuri.envia(b"pela me")
    ana.nada_chegou(espera=0.2)
    yuri.envia(b"tade!\n")
    ana.espera("[Yuri]: pela metade!")


@regra(5, "O que chega sem `\\n` antes do fim da conexão não é uma linha.", LINHAS, "O resto do buffer se perde no fim")
def rede_sem_fim_de_linha(palco: Palco) -> None:
    yuri, ana = palco.par()
    yuri.envia(b"pela metade")
    yuri.fecha()
    ana.ate("FIM:")
    ana.nao_leu("pela metade")


@regra(5, "Uma linha de mais de 4096 bytes é descartada, com um aviso, e a conversa continua.", LINHAS,
       "Sem limite, uma linha que não acaba ocupa toda a memória")  # fmt: skip
def rede_linha_longa(palco: Palco) -> None:
    yuri, ana = palco.par()
    yuri.pede("x" * 10_000, LONGA_DEMAIS)
    yuri.envia("e agora?")
    ana.espera("[Yuri]: e agora?")


@regra(5, "Uma linha de exatamente 4096 bytes, com o `\\n`, chega inteira.", LINHAS, "Um recv(1024) não basta. " + RECV)
def rede_linha_no_limite(palco: Palco) -> None:
    yuri_diz(palco, "x" * 4087, "[Yuri]: " + "x" * 4087)


@regra(5, "A linha que só passa do limite com o prefixo recebe o mesmo aviso.", LINHAS, "Meça também o que vai sair")
def rede_linha_com_prefixo(palco: Palco) -> None:
    yuri, ana = palco.par()
    yuri.envia("x" * 4090)
    yuri.ate("AVISO:")
    yuri.envia("e agora?")
    ana.espera("[Yuri]: e agora?")


@regra(5, "Na identificação, uma linha que passa do limite é recusada sem esperar o fim dela.", LINHAS,
       "Meça o buffer a cada recv, e não só a linha pronta")  # fmt: skip
def rede_nome_sem_fim(palco: Palco) -> None:
    yuri = palco.conecta("Yuri")
    yuri.envia("CLIENTE")
    yuri.alguma()
    yuri.envia(b"x" * 5000)
    yuri.ate("FIM:")


@regra(5, "Quem cai no meio da conversa (RST) sai como quem fecha.", FIM, RST)
def rede_rst(palco: Palco) -> None:
    yuri, ana = palco.par()
    yuri.some()
    ana.ate("FIM:")


@regra(5, "Quem cai na fila (RST) sai dela, e os de trás avançam.", FILA, RST)
def rede_rst_na_fila(palco: Palco) -> None:
    yuri, _bia = palco.cliente("Yuri"), palco.cliente("Bia")
    yuri.some()
    palco.da_uma_volta()
    e_chamado(palco.entra("ATENDENTE", "Ana"), "Bia")


@regra(5, "Quem para de ler não atrasa ninguém além do próprio par.", GARANTIAS, ENVIO)
def rede_nao_le(palco: Palco) -> None:
    yuri, _parada = palco.par("Yuri", "Ana", buffers=4096)
    for _ in range(4):
        if yuri.inunda("x" * 3000, 4_000_000):  # o servidor ainda lê, ou só demorou a ler
            palco.da_uma_volta()
    bia, caio = palco.par("Bia", "Caio")
    bia.envia("oi")
    caio.espera("[Bia]: oi")


@regra(5, "Mil mensagens de uma vez chegam todas, uma vez cada.", GARANTIAS, RECV)
def rede_mil_mensagens(palco: Palco) -> None:
    yuri, ana = palco.par()
    yuri.envia(*(f"mensagem {i}" for i in range(1000)))
    for _ in range(1000):
        ana.ate(("[", "Yuri", "mensagem"))  # com o prefixo que for
    if sorted(numeros(ana)) != [*range(1000)]:
        raise Falha("Ana lê cada uma das mil", "há repetidas, ou partidas")


@regra(5, "Mil conexões de uma vez: cada um com o seu par, ninguém com dois.", FILA, f"{LISTEN}. {TRAVA}")
def rede_mil_conexoes(palco: Palco) -> None:
    permitir_descritores(3000)
    tipos = {"C": "CLIENTE", "A": "ATENDENTE"}
    todos = [palco.conecta(f"{letra}{i}") for i in range(500) for letra in tipos]
    for um in todos:
        um.envia(tipos[um.nome[0]])
    for um in todos:
        um.alguma()
        um.envia(um.nome)
    par = {um.nome: um.ate("CONECTADO:").removeprefix("CONECTADO:").strip() for um in todos}
    for um in todos:
        if par.get(par[um.nome]) != um.nome:
            raise Falha(f"{um.nome} é o par do seu par", f"{um.nome} fala com {par[um.nome]}, e este, com outro")


@regra(5, "Bytes que não são UTF-8 viram `U+FFFD`.", LINHAS, "Use decode(..., 'replace')")
def rede_utf8(palco: Palco) -> None:
    yuri, ana = palco.par()
    yuri.envia(b"a\xffb\n")
    ana.espera("[Yuri]: a\ufffdb")
    yuri.envia("oi")
    ana.espera("[Yuri]: oi")


@regra(5, "Na primeira vez, quem mandou o que não é UTF-8 recebe um aviso.", LINHAS, "Lembre-se de que já avisou")
def rede_utf8_aviso(palco: Palco) -> None:
    yuri, ana = palco.par()
    yuri.pede(b"a\xffb\n", NAO_UTF8)
    yuri.envia(b"c\xffd\n")
    ana.alguma()
    ana.alguma()
    ana.envia("recebi")
    yuri.espera("[Ana]: recebi")
    yuri.leu_uma_vez(NAO_UTF8)


@regra(5, "Um BOM no começo da conexão é descartado.", LINHAS, "Há editores e programas do Windows que o põem")
def rede_bom(palco: Palco) -> None:
    yuri = palco.conecta("Yuri")
    yuri.envia(b"\xef\xbb\xbfCLIENTE\n")
    nao_e_recusado(yuri)


@regra(5, "Um Telnet que negocia opções lê o que fazer.", TELNET, "A primeira linha começa por bytes 255")
def rede_telnet(palco: Palco) -> None:
    palco.conecta("Yuri").pede(b"\xff\xfb\x1f\xff\xfd\x03CLIENTE\r\n", PARECE_TELNET, FECHOU)


@regra(5, "Os caracteres de controle são retirados do que se repassa.", LINHAS, LIMPAR)
def limpeza_controles(palco: Palco) -> None:
    yuri_diz(palco, "oi\x1b[2J\x00\x9b", "[Yuri]: oi[2J")


@regra(5, "Do nome também são retirados.", LINHAS, "O nome aparece na tela de quem conversa. " + LIMPAR)
def limpeza_nome(palco: Palco) -> None:
    ana = palco.atendente("Ana")
    palco.entra("CLIENTE", "Yu\x07ri")
    ana.espera("CONECTADO:Yuri")


@regra(5, "O que separa palavras ou linhas vira um espaço.", LINHAS, "Retirado, colaria as palavras. " + LIMPAR)
def limpeza_separadores(palco: Palco) -> None:
    yuri_diz(palco, "a\tb\x0bc\x0cd\x85e\u2028f\u2029g", "[Yuri]: a b c d e f g")


@regra(5, "Os controles de direção são retirados.", LINHAS, "Fazem um texto parecer o que não é. " + LIMPAR)
def limpeza_bidi(palco: Palco) -> None:
    yuri_diz(palco, "a\u202eb\u2066c\u2069", "[Yuri]: abc")


@regra(5, "O nome é normalizado (NFC).", IDENTIFICACAO, "Use unicodedata.normalize. " + NOME)
def nome_nfc(palco: Palco) -> None:
    ana = palco.atendente("Ana")
    palco.entra("CLIENTE", "Jose\u0301")
    ana.espera("CONECTADO:Jos\xe9")


@regra(5, "Um nome que não se vê é inválido.", IDENTIFICACAO, "Há espaços que strip() não tira. " + NOME)
def nome_invisivel(palco: Palco) -> None:
    for nome in "\u2800", "\u3164\u115f", "\u200b":
        palco.entra("CLIENTE", nome).ate("FIM:")


# --- Nível 6: as extensões que não pedem opções ---------------------------------------------------


@regra(6, "`FILA:` do cliente na fila: a posição, quantos são, quantos atendem.", PEDIDOS, EXTENSAO)
def consulta_cliente(palco: Palco) -> None:
    palco.cliente("Yuri")
    palco.cliente("Bia").pede("FILA:", "AVISO:Você é o número 2 de 2 na fila; atendentes online: 0.")


@regra(6, "`FILA:` do atendente: quem espera.", PEDIDOS, EXTENSAO)
def consulta_atendente(palco: Palco) -> None:
    _, ana = palco.par()
    ana.pede("FILA:", "AVISO:Nenhum cliente na fila.")
    palco.cliente("Bia")
    palco.cliente("Caio")
    ana.pede("FILA:", "AVISO:Clientes na fila: 2 (Bia, Caio).")


@regra(6, "`FILA:` do cliente na conversa: um aviso.", PEDIDOS, EXTENSAO)
def consulta_na_conversa(palco: Palco) -> None:
    yuri, _ = palco.par()
    yuri.pede("FILA:", "AVISO:Você já está sendo atendido.")


@regra(6, "O atendente em pausa não é chamado; o `VOLTA:` o chama.", PEDIDOS, EXTENSAO)
def pausa_na_fila(palco: Palco) -> None:
    ana = palco.atendente("Ana")
    ana.pede("PAUSA:", "AVISO:Você está em pausa.")
    palco.cliente("Yuri").nao_leu("CONECTADO:")
    ana.pede("VOLTA:", "CONECTADO:Yuri")


@regra(6, "A pausa pedida na conversa começa depois dela, no lugar de `FILA:OK`.", PEDIDOS, EXTENSAO)
def pausa_na_conversa(palco: Palco) -> None:
    yuri, ana = palco.par()
    palco.cliente("Bia")
    ana.pede("PAUSA:", "AVISO:Você ficará em pausa depois desta conversa.")
    yuri.fecha()
    ana.ate("FIM:")
    ana.espera("AVISO:Você está em pausa.", direto=True)


@regra(6, "`VOLTA:` antes de a pausa começar a cancela.", PEDIDOS, EXTENSAO)
def pausa_cancelada(palco: Palco) -> None:
    yuri, ana = palco.par()
    ana.envia("PAUSA:")
    ana.ate("AVISO:")
    ana.pede("VOLTA:", "AVISO:Pausa cancelada.")
    yuri.fecha()
    ana.ate("FIM:")
    ana.alguma(exigida=False)
    ana.nao_leu("Você está em pausa")


@regra(6, "Pausa em dobro, ou volta sem pausa: um aviso.", PEDIDOS, EXTENSAO)
def pausa_repetida(palco: Palco) -> None:
    ana = palco.atendente("Ana")
    ana.pede("VOLTA:", "AVISO:Você não está em pausa.")
    for _ in range(2):
        ana.envia("PAUSA:")
        ana.ate("AVISO:")
    ana.leu_uma_vez("AVISO:Você já está em pausa.")


@regra(6, "Só atendentes fazem pausa.", PEDIDOS, EXTENSAO)
def pausa_cliente(palco: Palco) -> None:
    palco.cliente("Yuri").pede("PAUSA:", "AVISO:Só atendentes fazem pausa.")


def diz_pronto(palco: Palco, ana: Participante) -> None:
    """O `PRONTO:` não tem resposta; a do `FILA:` diz que ele já foi lido."""
    ana.envia("PRONTO:")
    palco.da_uma_volta()
    ana.envia("FILA:")
    ana.ate("AVISO:")


@regra(6, "Quem disse `PRONTO:` uma vez só é chamado depois de cada `PRONTO:`.", INTERVALO, EXTENSAO)
def pronto_espera(palco: Palco) -> None:
    yuri, ana = palco.par()
    palco.cliente("Bia")
    diz_pronto(palco, ana)
    yuri.fecha()
    ana.ate("FIM:")
    ana.pede("FILA:", "AVISO:Clientes na fila: 1 (Bia).")
    ana.pede("PRONTO:", "CONECTADO:Bia")


@regra(6, "O que se diz entre dois atendimentos não chega ao seguinte.", INTERVALO, EXTENSAO)
def pronto_intervalo(palco: Palco) -> None:
    ana = palco.atendente("Ana")
    diz_pronto(palco, ana)
    yuri, bia = palco.cliente("Yuri"), palco.cliente("Bia")
    yuri.fecha()
    ana.ate("FIM:")
    ana.envia("Yuri, espere")
    palco.da_uma_volta()
    ana.pede("FIM:", "AVISO:A conversa já acabou.")
    ana.envia("PRONTO:")
    bia.ate("CONECTADO:")
    ana.envia("oi")
    bia.espera("[Ana]: oi")


@regra(6, "`PRONTO:` com algo depois é conversa.", COMANDOS, EXTENSAO)
def pronto_com_texto(palco: Palco) -> None:
    yuri, ana = palco.par()
    ana.envia("PRONTO: já vou")
    yuri.espera("[Ana]: PRONTO: já vou")


@regra(6, "Quem diz um departamento a um servidor que não os tem é recusado.", IDENTIFICACAO, EXTENSAO)
def departamento_nenhum(palco: Palco) -> None:
    palco.conecta("Yuri").pede("CLIENTE:Vendas", f"FIM:{SEM_DEPARTAMENTOS}", FECHOU)


@regra(6, "Num servidor sem departamentos, `*` são todos.", IDENTIFICACAO, EXTENSAO)
def departamento_todos(palco: Palco) -> None:
    ana = palco.entra("ATENDENTE:*", "Ana")
    ana.alguma(exigida=False)
    palco.cliente("Yuri")
    ana.espera("CONECTADO:Yuri")


@regra(6, "Quem transfere para um departamento que não há recebe um aviso.", PEDIDOS, EXTENSAO)
def transferir_nenhum(palco: Palco) -> None:
    yuri, ana = palco.par()
    ana.envia("TRANSFERIR:Vendas")
    ana.ate("AVISO:")
    ana.envia("continuamos")
    yuri.espera("[Ana]: continuamos")


def em_json(palco: Palco) -> Participante:
    """Yuri, que fala JSON e já disse o nome."""
    yuri = palco.conecta("Yuri")
    yuri.envia({"comando": "cliente"})
    yuri.pergunta()
    yuri.envia({"comando": "nome", "nome": "Yuri"})
    return yuri


@regra(6, "Quem começa por `{` fala JSON: o nome pode vir na primeira linha.", JSON, EXTENSAO)
def json_entrada(palco: Palco) -> None:
    palco.atendente("Ana")
    palco.conecta("Yuri").pede({"comando": "cliente", "nome": "Yuri"}, {"comando": "conectado", "nome": "Ana"})


@regra(6, "Em JSON o servidor pergunta o nome que não veio.", JSON, EXTENSAO)
def json_pergunta(palco: Palco) -> None:
    ana = palco.conecta("Ana")
    ana.pede({"comando": "atendente"}, {"comando": "nome"})
    ana.envia({"comando": "nome", "nome": "Ana"})
    palco.cliente("Yuri")
    ana.espera({"comando": "conectado", "nome": "Yuri"})


@regra(6, "Quem fala JSON conversa com quem fala texto.", JSON, EXTENSAO)
def json_conversa(palco: Palco) -> None:
    ana, yuri = palco.atendente("Ana"), em_json(palco)
    yuri.espera({"comando": "conectado", "nome": "Ana"})
    ana.ate("CONECTADO:")
    yuri.envia({"comando": "mensagem", "texto": "Olá!", "outra": 1})
    ana.espera("[Yuri]: Olá!")
    ana.envia('Oi, "Yuri".')
    yuri.espera({"comando": "mensagem", "nome": "Ana", "texto": 'Oi, "Yuri".'})


@regra(6, "O fim, em JSON, traz a mensagem.", JSON, EXTENSAO)
def json_fim(palco: Palco) -> None:
    ana, yuri = palco.atendente("Ana"), em_json(palco)
    ana.ate("CONECTADO:")
    yuri.espera({"comando": "conectado"})
    yuri.pede({"comando": "fim"}, {"comando": "fim"})
    if '"mensagem"' not in yuri.lidas[-1]:
        raise Falha("Yuri lê a mensagem do fim", yuri.lidas[-1])
    ana.ate("FIM:")


@regra(6, "JSON inválido recebe um aviso, e a conexão continua.", JSON, EXTENSAO)
def json_invalido(palco: Palco) -> None:
    yuri = em_json(palco)
    yuri.alguma(exigida=False)
    for errada in "oi", '{"comando":', '{"comando":"voar"}', '{"comando":"mensagem","texto":7}':
        yuri.pede(errada, {"comando": "aviso"})
    palco.atendente("Ana")
    yuri.espera({"comando": "conectado", "nome": "Ana"})


@regra(6, "A limpeza é a mesma: um `\\n` dentro do texto vira um espaço.", JSON, EXTENSAO)
def json_limpeza(palco: Palco) -> None:
    ana, yuri = palco.atendente("Ana"), em_json(palco)
    ana.ate("CONECTADO:")
    yuri.envia({"comando": "mensagem", "texto": "ligue\nagora"})
    ana.espera("[Yuri]: ligue agora")
